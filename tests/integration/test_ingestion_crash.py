"""Killed with SIGKILL at any point, the next run leaves registry = Chroma = lexical index = sources."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROUNDS, KILLS, SEED = 20, 3, 20260101  # 20 at successive steps of the write protocol, 40 at random instants


def test_a_killed_ingestion_is_finished_by_the_next_run(tmp_path: Path) -> None:
    driver = Path(__file__).with_name("crash_driver.py")
    command = [sys.executable, str(driver), str(tmp_path), str(ROUNDS), str(KILLS), str(SEED)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    rounds = [line for line in lines if "killed" in line]
    verdicts = [line for line in lines if "agrees" in line]
    assert result.returncode == 0, result.stderr[-3000:]
    assert len(rounds) == len(verdicts) == ROUNDS
    assert sum(line["killed"] for line in rounds) >= 40, "too few runs were really killed"
    for verdict in verdicts:
        assert verdict["agrees"], verdict["differences"]
        assert verdict["sources"] == ""
        assert verdict["unfindable"] == 0
        assert verdict["originals"]
        assert verdict["failed"] == ["file:broken.pdf"]
