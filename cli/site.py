"""`sealora site`: what an organisation that holds data does. Each command has a file of its own."""

import typer

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Keep a site: keys, policy, approvals and its log."
)


@app.callback()
def site() -> None:
    """Keep a site: keys, policy, approvals and its log."""
