"""docs/operations.md: commands that it names exist, and recipes that need no whole product do what it says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import psycopg
import pytest
import redis

from evaluations.rehearsal.guide import GUIDE, Check, checks
from rag.cli import banksight

ROOT = Path(__file__).parents[2]
TEXT = GUIDE.read_text(encoding="utf-8")
NEW = "5b0f3c9de1a74821a6f07c2d9e8a4463"


def commands() -> set[str]:
    """Every `banksight …` of the guide, up to the end of its line or code, comments left out."""
    found = re.findall(r"(?<!-n )banksight ((?:[a-z-]+|--[a-z-]+|[A-Z]+|[0-9]+| )+)", TEXT)
    return {" ".join(each.split()) for each in found if re.match(r"[a-z]+", each)}


def test_the_guide_names_many_commands() -> None:
    assert {"preflight --part node", "backup create", "proxy update", "keys rotate ID"} <= commands()


@pytest.mark.parametrize("line", sorted(commands()))
def test_every_command_and_option_of_the_guide_exists(line: str) -> None:
    command: click.Command | None = banksight
    context = click.Context(banksight)
    words = line.split()
    while words and isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"there is no `banksight {name}`"
        if isinstance(command, click.Group) and (not words or words[0].startswith("-")):
            return
    assert command is not None
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


def test_checklists_have_checks_that_can_fail(tmp_path: Path) -> None:
    assert len(checks("Before a deployment")) >= 3
    assert len(checks("After a deployment")) >= 10
    for check, fails in (
        (Check("echo one", "o.e"), False), (Check("echo one", "two"), True), (Check("true", None), False),
        (Check("echo more", None), True), (Check("no-such-command", "."), True),
    ):  # fmt: skip
        assert bool(check.failure({"PATH": "/usr/bin:/bin"})) is fails, check


@pytest.mark.parametrize("file", sorted(set(re.findall(r"\]\(([^)#:]+)", TEXT))))
def test_every_file_that_the_guide_links_to_exists(file: str) -> None:
    assert (GUIDE.parent / file).is_file()


def test_redis_takes_both_passwords_between_the_two_steps(start_redis: Callable[..., object], free_port: int) -> None:
    old = NEW[::-1]
    start_redis("--requirepass", old)

    def may_enter(password: str) -> bool:
        client = redis.Redis(port=free_port, password=password)
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return False
        finally:
            client.close()

    with redis.Redis(port=free_port, password=old) as admin:
        first, last = (each.replace("new", NEW).replace("old", old) for each in steps("ACL SETUSER default '(.*?)'"))
        admin.execute_command("ACL", "SETUSER", "default", first)
        assert (may_enter(old), may_enter(NEW)) == (True, True)
        admin.execute_command("ACL", "SETUSER", "default", last)
    assert (may_enter(old), may_enter(NEW)) == (False, True)


def steps(pattern: str) -> list[str]:
    found = re.findall(pattern, TEXT)
    assert found, f"the guide has no {pattern}"
    return found


@pytest.fixture
def roles(postgres_socket: Path) -> Iterator[psycopg.Connection]:
    """A superuser's connection to a database whose owner is a role `banksight_app`; roles go in the end."""
    with psycopg.connect(host=str(postgres_socket), user="banksight", dbname="postgres", autocommit=True) as admin:
        admin.execute("CREATE ROLE banksight_app LOGIN")
        admin.execute("CREATE DATABASE of_roles OWNER banksight_app")
        yield admin
        admin.execute("DROP DATABASE of_roles WITH (FORCE)")
        admin.execute("DROP ROLE IF EXISTS banksight_b")
        admin.execute("DROP ROLE banksight_app")


def test_second_role_makes_what_the_first_owns(roles: psycopg.Connection, postgres_socket: Path) -> None:
    (recipe,) = steps("`(CREATE ROLE banksight_b .*?;)`")
    for statement in recipe.replace("…", NEW).replace("banksight;", "banksight_app;").rstrip(";").split(";"):
        roles.execute(re.sub(r"\bbanksight\b", "banksight_app", statement).encode())
    with psycopg.connect(host=str(postgres_socket), user="banksight_b", dbname="of_roles") as second:
        second.execute("CREATE TABLE public.made (id int)")
        owner = second.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'made'").fetchone()
    assert owner == ("banksight_app",)


def test_backups_open_with_the_new_password_only(tmp_path: Path) -> None:
    (command,) = steps(r"`(restic -r .*? key passwd)`")
    (tmp_path / "old").write_text(NEW[::-1])
    (tmp_path / "new").write_text(NEW)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "BACKUP_REPOSITORY": str(tmp_path / "backups")}

    def run(line: str, password: str) -> int:
        given = environment | {"BACKUP_PASSWORD_FILE": str(tmp_path / password)}
        return subprocess.run(["bash", "-c", line], env=given, capture_output=True, check=False).returncode

    base = command.removesuffix(" key passwd")
    assert run(f"{base} init", "old") == 0
    assert run(f"{command} --new-password-file {tmp_path / 'new'}", "old") == 0
    assert (run(f"{base} snapshots", "old") == 0, run(f"{base} snapshots", "new") == 0) == (False, True)
