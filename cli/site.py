"""`sealora site`: what an organisation that holds data does. Each group of commands has a file of its own."""

import typer

from sealora.cli import site_keys, site_log, site_policy, site_roster, site_run

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Keep a site: keys, policy, approvals and its log."
)

for command in (
    site_keys.init,
    site_keys.join,
    site_keys.renew,
    site_policy.review,
    site_policy.approve,
    site_run.run,
    site_run.agent,
    site_run.link,
    site_log.log,
    site_log.verify,
    site_log.egress,
):
    app.command()(command)
app.add_typer(site_roster.app, name="roster")
