"""An observer that shows a run on the terminal: rounds, sites, loss, time left."""

import math
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from sealora.protocol.visible import visible
from sealora.server.events import (
    AttemptLost,
    AttemptOpened,
    Evaluated,
    Event,
    PhaseOpened,
    RoundDone,
    RunStarted,
    SiteAnswered,
    SiteRefused,
)


class ProgressBar:
    """Live bars on a terminal; one line for each round elsewhere. Use as a context manager."""

    def __init__(self, console: Console, headline: str) -> None:
        self._console = console
        self._headline = headline
        self._rounds = 0
        self._sites = 0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._run = self._progress.add_task("Run", total=None, note="")
        self._phase = self._progress.add_task("Sites", total=None, note="", visible=False)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing; the terminal is left clean whatever happened."""
        self._progress.stop()

    def notify(self, event: Event) -> None:
        """Show the event."""
        match event:
            case RunStarted():
                self._begin(event)
            case AttemptOpened():
                name = f"Round {event.round}/{self._rounds}" if event.round <= self._rounds else "Evaluation"
                self._progress.update(self._run, description=name)
            case PhaseOpened():
                self._progress.reset(self._phase, total=event.sites, visible=True, note="")
                self._progress.update(self._phase, description=f"  {event.phase}: sites")
            case SiteAnswered():
                self._progress.update(self._phase, advance=1, note=escape(event.site))
                if event.phase == "train":
                    self._progress.update(self._run, advance=1)
            case SiteRefused():
                # A site's words are its own: they are no markup, and move no cursor.
                self._progress.console.print(
                    f"[yellow]{escape(event.site)}[/] refused ({event.reason}): {escape(visible(event.text))}"
                )
            case AttemptLost():
                reason = escape(visible(event.reason))
                self._progress.console.print(
                    f"[yellow]Round {event.round}, attempt {event.attempt}[/]: {reason}"
                )
            case RoundDone():
                self._done(event)
            case Evaluated():
                self._progress.update(self._phase, visible=False)

    def _begin(self, event: RunStarted) -> None:
        """The bar counts sites' answers over all rounds and the evaluation, so that it moves evenly."""
        self._rounds = event.rounds
        self._sites, done = len(event.sites), len(event.history)
        self._progress.update(self._run, total=(event.rounds + 1) * self._sites, completed=done * self._sites)
        if done:
            self._progress.console.print(f"Going on after round {done} of {event.rounds}.")

    def _done(self, event: RoundDone) -> None:
        record = event.record
        if record.clipped is None:
            figures = "training loss withheld  "
        else:
            figures = f"training loss {record.train_loss:.3f}  "
        before = record.metrics.get(self._headline, float("nan"))
        if not math.isnan(before) or record.clipped is not None:
            kind = "noised " if record.noised else ""
            figures += f"{kind}{self._headline} before it {before:.3f}  "
        self._progress.update(self._run, completed=record.round * self._sites, note=figures.split("  ")[0])
        self._progress.console.print(
            f"Round {record.round}/{self._rounds}  {len(record.contributors)}/{len(record.cohort)} sites  "
            f"{figures}"
            f"{sum(record.seconds.values()):.1f} s  {record.bytes_up / 1e6:.1f} MB up"
        )
        if record.diverged:
            self._progress.console.print(
                f"[yellow]Round {record.round}[/]: training diverged at {record.diverged} of "
                f"{len(record.contributors)} sites, which sent no change. Lower training.learning_rate.",
                soft_wrap=True,
            )
