"""`sealora server`: what a federation's coordinator does. Each command has a file of its own."""

import typer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Keep a federation: certificates, roster and its log."
)


@app.callback()
def server() -> None:
    """Keep a federation: certificates, roster and its log."""
