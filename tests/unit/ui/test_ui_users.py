"""`banksight users` on a data folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rag.cli import banksight

PASSWORD = "correct horse battery staple"


def users(folder: Path, *arguments: str, given: str | None = None) -> Result:
    command = ["users", *arguments, "--data", str(folder), *(["--stdin"] if given is not None else [])]
    return CliRunner().invoke(banksight, command, input=given)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert users(tmp_path, "add", "Ann", given=f"{PASSWORD}\nbsk_ann\n").exit_code == 0
    return tmp_path


def test_who_was_added_is_listed_and_nothing_readable_is_kept(folder: Path) -> None:
    assert users(folder, "list").output.startswith("ann\t")
    kept = b"".join(path.read_bytes() for path in (folder / "ui").iterdir() if "conversations" in path.name)
    assert b"$argon2id$" in kept
    assert b"horse" not in kept
    assert b"bsk_ann" not in kept


def test_a_second_account_of_one_name_is_refused_whatever_its_case(folder: Path) -> None:
    again = users(folder, "add", "ANN", given=f"{PASSWORD}\nbsk_other\n")
    assert again.exit_code == 1
    assert again.output == "Error: ann is there already; `users passwd` changes the password.\n"


@pytest.mark.parametrize(
    ("arguments", "given", "says"),
    [
        (("add", "b o b"), f"{PASSWORD}\nk\n", "A name has 1 to 64 letters"),
        (("add", "bob"), "short\nk\n", "at least 15 characters"),
        (("add", "bob"), f"{PASSWORD}\n\n", "Key of the API: nothing was given."),
        (("passwd", "bob"), f"{PASSWORD}\n", "There is nobody called bob"),
        (("key", "bob"), "k\n", "There is nobody called bob"),
        (("remove", "bob"), None, "There is nobody called bob"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_code_1(
    folder: Path, arguments: tuple[str, ...], given: str | None, says: str
) -> None:
    result = users(folder, *arguments, given=given)
    assert result.exit_code == 1
    assert says in result.output
    assert users(folder, "list").output.count("\n") == 1


def test_a_password_is_asked_for_twice_and_not_shown(tmp_path: Path) -> None:
    typed = f"{PASSWORD}\n{PASSWORD}\nbsk_ann\n"
    result = CliRunner().invoke(banksight, ["users", "add", "ann", "--data", str(tmp_path)], input=typed)
    assert result.exit_code == 0
    assert "Repeat for confirmation" in result.output
    assert PASSWORD not in result.output


def test_who_was_removed_is_not_listed_any_more(folder: Path) -> None:
    assert users(folder, "remove", "ann").exit_code == 0
    assert users(folder, "list").output == ""
