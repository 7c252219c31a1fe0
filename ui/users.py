"""`banksight users`: the people who sign in to the chat with a password, straight in the chat's database.

Imports little: `banksight --help` loads this file too. In the chat's image, which has no `banksight`:
`python -c "from ui.users import users; users()" add ann`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ui.commands import CannotStart, data_folder

if TYPE_CHECKING:
    from ui.signing_in.accounts import AccountStore

Command = TypeVar("Command", bound=Callable[..., object])


class CannotDo(click.ClickException):
    """The name or the password is not one that can be used: exit code 1."""


def _placed(command: Command) -> Command:
    place = click.option(
        "--data", default=None, type=click.Path(path_type=Path), help="Data folder.  [default: $BANKSIGHT_DATA_DIR]"
    )
    return place(command)


_FROM_STDIN = click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read what would be asked for from standard input, one a line."
)


@click.group()
def users() -> None:
    """People who sign in to the chat with a password (BANKSIGHT_UI_LOGIN=password)."""


@users.command()
@click.argument("name")
@_FROM_STDIN
@_placed
def add(name: str, *, from_stdin: bool, data: Path | None) -> None:
    """Let NAME sign in: asks for a password, and for the key of the API that `banksight keys create` showed."""
    with _accounts(data) as (accounts, seal):
        password = _good_password(name, from_stdin)
        account = accounts.add(name, password, seal(_secret("Key of the API", from_stdin)))
    click.echo(f"{account.name} may sign in.")


@users.command("list")
@_placed
def list_users(*, data: Path | None) -> None:
    """Everybody who may sign in with a password, since when, and who has to wait after wrong ones."""
    with _accounts(data) as (accounts, _):
        for each in accounts.all():
            waits = each.locked_until > datetime.now(UTC).timestamp()
            until = datetime.fromtimestamp(each.locked_until, UTC).isoformat(timespec="seconds") if waits else ""
            click.echo(f"{each.name}\t{each.created_at[:10]}\t{f'waits until {until}' if waits else ''}".rstrip())


@users.command()
@click.argument("name")
@_FROM_STDIN
@_placed
def passwd(name: str, *, from_stdin: bool, data: Path | None) -> None:
    """Give NAME another password. Their sessions end, and so does any waiting."""
    with _accounts(data) as (accounts, _):
        accounts.set_password(name, _good_password(name, from_stdin))
    click.echo(f"{name} has another password, and is signed out everywhere.")


@users.command()
@click.argument("name")
@_FROM_STDIN
@_placed
def key(name: str, *, from_stdin: bool, data: Path | None) -> None:
    """Give NAME another key of the API, before theirs expires. Their sessions end."""
    with _accounts(data) as (accounts, seal):
        accounts.set_key(name, seal(_secret("Key of the API", from_stdin)))
    click.echo(f"{name} has another key, and is signed out everywhere.")


@users.command()
@click.argument("name")
@_placed
def remove(name: str, *, data: Path | None) -> None:
    """Let NAME sign in no more, and end their sessions. Their conversations stay, and `keys revoke` ends their key."""
    with _accounts(data) as (accounts, _):
        accounts.remove(name)
    click.echo(f"{name} may not sign in any more. Their key still counts: `banksight keys list` shows it.")


@contextmanager
def _accounts(data: Path | None) -> Iterator[tuple[AccountStore, Callable[[str], str]]]:
    """The accounts of the chat on this data folder, and what encrypts a key for them."""
    try:
        from ui.credentials import seal  # noqa: PLC0415 - these take a second to load
        from ui.history.database import HistoryUnavailable, open_database  # noqa: PLC0415
        from ui.launching import history_environment  # noqa: PLC0415
        from ui.signing_in.accounts import AccountError, AccountStore  # noqa: PLC0415
    except ImportError as problem:
        raise CannotStart(f"{problem.name} is not installed: install BankSight with its `ui` extra.") from problem

    folder = (data or data_folder(dict(os.environ))) / "ui"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = history_environment("127.0.0.1", folder) | os.environ
        engine = open_database(place["BANKSIGHT_UI_DATABASE_URL"])
    except (HistoryUnavailable, OSError) as problem:
        raise CannotStart(str(problem)) from problem
    try:
        yield AccountStore(engine, time.time), lambda text: seal(text, place["CHAINLIT_AUTH_SECRET"])
    except AccountError as problem:
        raise CannotDo(str(problem)) from problem
    finally:
        engine.dispose()


def _good_password(name: str, from_stdin: bool) -> str:  # noqa: FBT001 - click's flag
    from ui.settings import SettingsError, UiSettings  # noqa: PLC0415
    from ui.signing_in.passwords import weakness  # noqa: PLC0415

    try:
        fewest = UiSettings.from_environment(os.environ).ui_password_characters
    except SettingsError as problem:
        raise CannotStart(str(problem)) from problem
    password = _secret("Password", from_stdin, confirmed=True)
    if reason := weakness(password, name, fewest):
        raise CannotDo(reason)
    return password


def _secret(what: str, from_stdin: bool, *, confirmed: bool = False) -> str:  # noqa: FBT001 - click's flag
    if from_stdin:
        text = sys.stdin.readline().rstrip("\r\n")
    else:
        text = str(click.prompt(what, hide_input=True, confirmation_prompt=confirmed))
    if not text:
        raise CannotDo(f"{what}: nothing was given.")
    return text
