"""`sealora server`: what a coordinator does. Each group of commands has a file of its own."""

import typer

from sealora.cli import server_keys, server_log, server_roster, server_run

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Keep a federation: certificates, roster and its log."
)

for command in (
    server_keys.init,
    server_keys.enrol,
    server_keys.revoke,
    server_keys.renew,
    server_keys.sites,
    server_run.run,
    server_run.status,
    server_run.stop,
    server_log.log,
    server_log.verify,
):
    app.command()(command)
app.add_typer(server_roster.app, name="roster")
