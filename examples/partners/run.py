"""A federation of a coordinator and six sites on this machine, from empty folders to a trained adapter.

Every party is what it would be in earnest: folders and keys of its own, processes of its own, mutual
TLS between them and masked updates. Only the operators are missing; this script types their commands,
and shows the first of each kind. Agents run without any network where the system lets them.

    python examples/partners/run.py --out runs/partners
"""

import argparse
import csv
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora.models.table import draw_rows, read_table
from sealora.models.task_registry import task_card
from sealora.plan.loader import load
from sealora.protocol.errors import SealoraError
from sealora.simulation.groups import deal

PLAN = Path(__file__).with_name("plan.toml")
SEALORA = (sys.executable, "-m", "sealora")
LOST = {"train": "site-02", "share": "site-05"}
"""Whom `--dropouts` kills in the second round, by phase."""
AT_ONCE = 2
"""Operators that type at the same time."""
Event = dict[str, Any]
console = Console(highlight=False, soft_wrap=True)


class Federation:
    """Everybody's folders, under one that stands for the world between them."""

    def __init__(self, root: Path, plan: Path) -> None:
        self.root, self.plan = root.resolve(), load(plan)
        self.logs = self.root / "logs"
        self._shown: set[str] = set()
        self.logs.mkdir(parents=True)
        shutil.copy(plan, self.root / "plan.toml")

    @cached_property
    def rows(self) -> dict[str, list[dict[str, str]]]:
        """Each site's rows: those that `sealora simulate` would deal to it."""
        data = self.plan.data
        columns = task_card(self.plan.task.name).columns(data)
        table = draw_rows(read_table(data, columns), data.rows, self.plan.seed)
        shares = deal(table, data, self.plan.simulation, self.plan.seed)
        return {site: list(map(self._row, table.select(rows))) for site, rows in shares.items()}

    def _row(self, row: dict[str, str]) -> dict[str, str]:
        data, label = self.plan.data, row[self.plan.data.label_column]
        return {"text": row[data.text_column], "label": data.label_map.get(label, label)}

    def sealora(self, *words: str, code: int = 0) -> str:
        """Run a command to its end; returns what it prints. Shows the first of its kind."""
        self.show("sealora", *words)
        done = subprocess.run([*SEALORA, *words], cwd=self.root, capture_output=True, text=True)
        if done.returncode != code:
            raise SystemExit(f"sealora {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def show(self, *words: str) -> None:
        """Print a command, unless one of its kind was shown before."""
        kind = " ".join(word for word in words if word.isalpha())
        if kind not in self._shown:
            self._shown.add(kind)
            console.print("[bold]$[/]", " ".join(words))

    def each(self, work: Callable[[str], object]) -> None:
        """Call `work` with the name of every site, a few at a time."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(work, self.rows))

    def process(self, name: str, command: tuple[str, ...]) -> "Process":
        """Start a process in the federation's folder."""
        return Process(command, self.root, self.logs / f"{name}.jsonl")


def found(federation: Federation) -> None:
    """The federation, its sites with certificates, and the roster that all of them sign."""
    run = federation.sealora
    run("server", "init", "registry", "--name", "partners", "--address", f"localhost:{free_port()}")
    federation.each(lambda site: enrol(run, site))
    run("server", "roster", "propose", "--colluders", "1", "--dir", "registry")
    signing = ("site", "roster", "sign", "registry/draft.jsonl", "--yes")
    federation.each(lambda site: run(*signing, "--dir", site))
    approvals = [f"{site}.approval.json" for site in federation.rows]
    run("server", "roster", "collect", *approvals, "--dir", "registry")
    accepting = ("site", "roster", "accept", "registry/roster.jsonl", "--yes")
    federation.each(lambda site: run(*accepting, "--dir", site))


def enrol(run: Callable[..., str], site: str) -> None:
    """Keys at the site, words over the telephone, a certificate back."""
    read_out = json.loads(run("site", "init", site, "--name", site, "--json"))["fingerprint"]
    request = f"{site}/{site}.request.json"
    heard = json.loads(run("server", "enrol", request, "--dir", "registry", "--yes", "--json"))["fingerprint"]
    if read_out != heard:
        raise SystemExit(f"The words of {site} differ: somebody has exchanged its request.")
    run("site", "join", f"{site}.bundle.json", "--dir", site, "--yes")


def free_port() -> int:
    """A port on which the coordinator will listen."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def approve(federation: Federation) -> None:
    """Every site's data, what its policy allows, and its operator's yes to this very plan."""
    for site, rows in federation.rows.items():
        with (federation.root / site / "records.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["text", "label"])
            writer.writeheader()
            writer.writerows(rows)
        shutil.copy(federation.root / "plan.toml", federation.root / site)
    first = next(iter(federation.rows))
    review = ("site", "review", f"{first}/plan.toml", "--dir", first)
    # Refused as yet, for a new site allows nothing; the others would compute the same hash of the model.
    model = json.loads(federation.sealora(*review, "--json", code=3))["model"]
    federation.each(lambda site: allow(federation, site, model))
    console.print(federation.sealora(*review), markup=False)


def allow(federation: Federation, site: str, model: str) -> None:
    """What an operator does in an editor, and the approval."""
    settings = federation.root / site / "site.toml"
    text = settings.read_text("utf-8").replace("models = []", f'models = ["{model}"]')
    settings.write_text(text.replace("colluders = 0 ", "colluders = 1 "), "utf-8")
    federation.sealora("site", "approve", f"{site}/plan.toml", "--by", "its operator", "--dir", site)


class Process:
    """A command that runs beside this script and ends with it; its log is kept in a file."""

    def __init__(self, command: tuple[str, ...], folder: Path, log: Path) -> None:
        self._popen = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.pid = self._popen.pid
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def events(self) -> Iterator[Event]:
        """What it logs, as it comes, to its end; lines that are no events are shown."""
        while line := self._lines.get():
            try:
                yield json.loads(line)
            except ValueError:
                console.print(line.decode().rstrip(), markup=False)

    def wait_for(self, event: str) -> None:
        """Read on to an event. Raises SystemExit if the process ends before."""
        if not any(found["event"] == event for found in self.events()):
            raise SystemExit(f"{self._popen.args} has ended.")

    def output(self) -> str:
        """What it printed, once it has ended well."""
        assert self._popen.stdout is not None
        printed = self._popen.stdout.read().decode()
        if self._popen.wait():
            raise SystemExit(f"{self._popen.args} ended with {self._popen.returncode}.")
        return printed

    def kill(self) -> None:
        """End it as a power cut would."""
        self._popen.kill()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        self._popen.wait()
        self._reader.join()
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()

    def _read(self, log: Path) -> None:
        assert self._popen.stderr is not None
        with log.open("wb") as file:
            for line in self._popen.stderr:
                file.write(line)
                self._lines.put(line)
        self._lines.put(b"")


class Sites:
    """The two processes of every site: an agent, which is sealed off, and its link."""

    def __init__(self, federation: Federation, stack: ExitStack) -> None:
        self._federation, self._stack, self._sealed = federation, stack, sealed()
        self.agents = {site: self._start("agent", site) for site in federation.rows}
        self.links: dict[str, Process] = {}
        for agent in self.agents.values():
            agent.wait_for("listening")

    def connect(self) -> None:
        """Start the links."""
        self.links = {site: self._start("link", site) for site in self.agents}

    def lose(self, site: str) -> None:
        """Kill both."""
        self.agents[site].kill()
        self.links[site].kill()

    def _start(self, half: str, site: str) -> Process:
        words = ("site", half, *((f"{site}/plan.toml",) if half == "agent" else ()), "--dir", site)
        before = self._sealed if half == "agent" else ()
        self._federation.show(*before, "sealora", *words)
        command = (*before, *SEALORA, *words, "--supervised")  # so that it ends with this script
        return self._stack.enter_context(self._federation.process(f"{site}.{half}", command))


def sealed() -> tuple[str, ...]:
    """The words before an agent's command that leave it no network interface; none where that fails."""
    for words in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        with suppress(OSError):
            if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
                return words
    console.print("[yellow]Agents are not sealed off:[/] this system lets no process give up its network.")
    return ()


def train(federation: Federation, patience: float, watch: Callable[[Event, Sites], None]) -> Event:
    """The whole run; returns the content of result.json. `watch` hears of what happens on the way."""
    words = ("server", "run", "plan.toml", "--dir", "registry", "--state", "run", "--json")
    words += ("--patience", f"{patience:g}")
    with ExitStack() as stack:
        console.print("The agents load the model and their rows.")
        sites = Sites(federation, stack)
        federation.show("sealora", *words)
        coordinator = stack.enter_context(federation.process("coordinator", (*SEALORA, *words)))
        for event in coordinator.events():
            if event["event"] == "listening":
                sites.connect()
            watch(event, sites)
        result: Event = json.loads(coordinator.output())
        return result


def tell(event: Event, sites: Sites) -> None:
    """A line for what a person waits for."""
    match event["event"]:
        case "presence":
            console.print(f"  connected: {len(event['connected'])} of {len(sites.agents)}")
        case "PhaseOpened" if event["phase"] == "train":
            console.print(f"  round {event['round']}: {event['sites']} sites are asked")
        case "RoundDone":
            console.print(f"  round {event['round']}: the sum of {', '.join(event['contributors'])}")
        case "SiteRefused" | "AttemptLost":
            # A site's words are its own: they are no markup.
            console.print(Text(f"  {event.get('site', 'attempt lost')}: {event['reason']}", "yellow"))


def lose(event: Event, sites: Sites) -> None:
    """Kill two sites in the second round."""
    tell(event, sites)
    site = LOST.get(event.get("phase", "")) if event.get("round") == 2 else None
    if event["event"] == "PhaseOpened" and site:
        sites.lose(site)
        console.print(f"  [yellow]{site} is killed[/]")


def summary(federation: Federation, result: Event) -> None:
    """What came of it, and where it is."""
    table = Table("site", "rows", "bytes that left", "log")
    for site, rows in federation.rows.items():
        left = json.loads(federation.sealora("site", "egress", "--dir", site, "--json"))
        (log, *_) = json.loads(federation.sealora("site", "verify", "--dir", site, "--json"))
        size = sum(kind["bytes"] for kind in left.values())
        table.add_row(site, str(len(rows)), f"{size:,}", f"{log['lines']} lines, verified")
    console.print(table)
    before, after = (result["curve"][position][result["headline"]] for position in (0, -1))
    console.print(
        f"{result['headline']} on rows held out at the sites: {before:.3f} before, {after:.3f} after"
    )
    console.print(f"protection of single updates: {result['guarantee']}")
    console.print(f"adapter {result['adapter_sha256']}, in {federation.root / 'run' / 'adapter'}")
    console.print(f"everybody's folders: {federation.root}; logs of the processes: {federation.logs}")


def main() -> None:
    """Parse the arguments, and do everything in order."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/partners"), help="a new folder")
    parser.add_argument("--dropouts", action="store_true", help="kill two sites in the second round")
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds to wait for a site that is gone"
    )
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{options.out} exists. Name a new folder with --out.")
    federation = Federation(options.out, PLAN)
    found(federation)
    approve(federation)
    summary(federation, train(federation, options.patience, lose if options.dropouts else tell))


if __name__ == "__main__":
    try:
        main()
    except SealoraError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
