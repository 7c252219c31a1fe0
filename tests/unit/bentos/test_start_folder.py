"""Every start of the server has a folder of its own, and none is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bentos.start_folder import start_folder

KILLED = """
import os, sys
from pathlib import Path
from bentos.start_folder import start_folder
with start_folder(Path(sys.argv[1])) as folder:
    (folder / "counter.db").write_text("1")
    os._exit(9)
"""


def test_a_second_start_leaves_the_folder_of_the_first_alone(tmp_path: Path) -> None:
    with start_folder(tmp_path) as first:
        (first / "counter.db").write_text("1", encoding="utf-8")
        with start_folder(tmp_path) as second:
            assert second != first
            assert not list(second.iterdir())
        assert (first / "counter.db").read_text(encoding="utf-8") == "1"


def test_nothing_stays_when_a_start_ends(tmp_path: Path) -> None:
    with start_folder(tmp_path / "starts") as folder:
        (folder / "counter.db").write_text("1", encoding="utf-8")
    assert not list((tmp_path / "starts").iterdir())


def test_what_a_killed_server_left_goes_with_the_next_start(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == 9
    assert [each for each in tmp_path.iterdir() if each.is_dir()]
    with start_folder(tmp_path) as mine:
        assert [each for each in tmp_path.iterdir() if each.is_dir()] == [mine]
