"""The Flower ClientApp of a simulation: does the work of whichever site a message names.

It holds no site's keys, ledger or memory, and any actor may do any site's work. The module is imported
by name in every actor, so what it has opened stays for as long as the actor lives.
"""

import os
import traceback
from functools import lru_cache
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from sealora.plan.loader import Plan
from sealora.protocol.errors import RunError, SealoraError
from sealora.simulation import flower_messages
from sealora.simulation.flower_messages import Surroundings
from sealora.simulation.site_rows import DealtRows
from sealora.simulation.workshop import Workshop, open_workshop

app = ClientApp()


@app.query()
def work(message: Message, context: Context) -> Message:
    """Measure or train as the message says; what goes wrong becomes a reply, too."""
    try:
        site, surroundings, assignment = flower_messages.read(message.content)
        outcome = workshop(surroundings).worker(site).work(assignment)
        content = flower_messages.answer(outcome)
    except SealoraError as error:
        content = flower_messages.failure(error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        content = flower_messages.failure(RunError(f"{type(error).__name__} in an actor: {error} ({where})."))
    return Message(content, reply_to=message)


@lru_cache(maxsize=1)
def workshop(surroundings: Surroundings) -> Workshop:
    """Loads the base model, once in every actor."""
    os.chdir(surroundings.folder)
    plan = Plan.from_text(surroundings.plan)
    return open_workshop(plan, DealtRows(plan), workers=1)
