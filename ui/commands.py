"""`banksight ui`: the chat as a process of its own. Imports little: `banksight --help` loads this file too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

DEFAULT_API = "http://127.0.0.1:3000"


class CannotStart(click.ClickException):
    """A setting, a folder or a port cannot be used: exit code 3, as everywhere in `banksight`."""

    exit_code = 3


@click.command("ui")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option("--api", default=None, help=f"Address of the API.  [default: $BANKSIGHT_API_URL or {DEFAULT_API}]")
@click.option(
    "--data", default=None, type=click.Path(path_type=Path), help="Data folder.  [default: $BANKSIGHT_DATA_DIR]"
)
def ui(host: str, port: int, api: str | None, data: Path | None) -> None:
    """Start the chat in the browser; the API must run already. `banksight up` starts both."""
    from ui.frontend import FrontendError  # noqa: PLC0415 - only this command needs them
    from ui.launching import LaunchError, run  # noqa: PLC0415
    from ui.settings import SettingsError, UiSettings  # noqa: PLC0415

    environment = dict(os.environ) | ({"BANKSIGHT_API_URL": api} if api else {})
    try:
        settings = UiSettings.from_environment(environment)
        sys.exit(run(host, port, settings.api_base, data or data_folder(environment), _announce))
    except (FrontendError, LaunchError, SettingsError) as problem:
        raise CannotStart(str(problem)) from problem


def data_folder(environment: dict[str, str]) -> Path:
    """The data folder, as the other parts find it: `BANKSIGHT_DATA_DIR`, or `var` beside the packages."""
    return Path(environment.get("BANKSIGHT_DATA_DIR") or Path(__file__).resolve().parent.parent / "var")


def _announce(address: str) -> None:
    click.echo(f"BankSight is ready: {address}")
