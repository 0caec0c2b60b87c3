"""The `sealora` command. A sub-command's file is imported only when it is called.

`sealora NAME` is the Typer `app` of `sealora.cli.NAME`, or its function NAME.
"""

import sys
from importlib import import_module
from typing import Annotated, Any

import click
import typer
from typer.core import TyperCommand, TyperGroup

from sealora import __version__
from sealora.cli.errors import guard

COMMANDS = {
    "plan": "Write, check and show plans.",
    "simulate": "Run a plan with simulated sites on this machine.",
    "compare": "Compare strategies on the same splits, over several seeds.",
    "evaluate": "Measure a trained adapter on held-out data.",
    "predict": "Use a trained adapter on new texts.",
    "audit": "Attack a run or a plan, and compare what leaks with what is claimed.",
    "demo": "Fine-tune a small model across simulated sites in a few minutes.",
    "strategies": "List strategies and their options.",
    "assets": "List and install the bundled models and data sets.",
    "ledger": "Read, verify and export privacy ledgers.",
    "site": "Keep a site: keys, policy, approvals and its log.",
    "server": "Keep a federation: certificates, roster and its log.",
    "doctor": "Check this machine: packages, devices, assets.",
}
"""Sub-commands with their line in `sealora --help`."""


class LazyGroup(TyperGroup):
    """Knows its commands by name and help line, and imports the one that is called."""

    def __init__(self, **options: Any) -> None:
        options["commands"] = {name: TyperCommand(name, help=text) for name, text in COMMANDS.items()}
        super().__init__(**{**options, "suggest_commands": False})  # click suggests by itself

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Exchange the placeholder of the command that is called for the real one."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name in COMMANDS else command, rest


def load_command(name: str) -> click.Command:
    """Import `sealora.cli.NAME` and return its command."""
    module = import_module(f"sealora.cli.{name}")
    application = getattr(module, "app", None)
    if application is None:
        application = typer.Typer(add_completion=False)
        application.command(name)(getattr(module, name))
    command = typer.main.get_command(application)
    command.name = name
    return command


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sealora {__version__}")
        raise typer.Exit


@app.callback()
def sealora(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune language models across organisations: no record leaves its owner."""


def main() -> None:
    """The console entry point."""
    arguments = sys.argv[1:]
    group = typer.main.get_command(app)
    sys.exit(guard(lambda: group.main(arguments, "sealora", standalone_mode=False), arguments))
