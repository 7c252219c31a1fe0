"""`banksight proxy`: nginx in front of API and UI."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import click

from rag.errors import BankSightError
from rag.governance.roles import for_roles
from rag.settings import load_settings


@for_roles("operator")
@click.group()
def proxy() -> None:
    """The proxy in front of API and UI: TLS, spreading over nodes, limits. See docs/proxy.md."""


@proxy.command()
def update() -> None:
    """Make nginx's configuration from the settings and the nodes there are now; a running nginx reads it anew.

    Nothing changes when nginx would refuse it. Nodes that are not ready get nothing until the next update.
    """
    from rag.proxy.placing import folder_of, update  # noqa: PLC0415  `--help` must not pay

    settings = load_settings()
    click.echo(f"{update(settings)}  {folder_of(settings)}")


@proxy.command()
@click.option(
    "--every", default=2.0, show_default=True, type=click.FloatRange(min=0.2), help="Seconds between two updates."
)
def run(every: float) -> int:
    """Run nginx in the foreground, and keep its list of nodes true: changed lists, nodes that became or are not ready.

    SIGTERM and Ctrl-C let running answers finish.
    """
    from rag.proxy.placing import command, folder_of, update  # noqa: PLC0415  `--help` must not pay

    settings = load_settings()
    folder = folder_of(settings)
    update(settings)
    click.echo(f"BankSight proxy on https://{settings.proxy.api_host} and https://{settings.proxy.ui_host}", err=True)
    nginx = subprocess.Popen(command(folder, "-g", "daemon off;"), cwd=folder, start_new_session=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: nginx.send_signal(signal.SIGQUIT))
    said = ""
    while True:
        try:
            return nginx.wait(every)
        except subprocess.TimeoutExpired:
            said = _told(lambda: update(settings), said)


def _told(update: Callable[[], object], said: str) -> str:
    """Update, and say once what is wrong; nginx goes on with what it has."""
    try:
        update()
    except BankSightError as error:
        if str(error) != said:
            click.echo(f"Warning: {error}", err=True)
        return str(error)
    return ""
