"""Digests of data are alike in every process, although sets have another order in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from evaluations.datasets.loading import DATA_VARIABLE
from evaluations.suites.schema import DataSource

PROGRAM = """
import sys
from evaluations.datasets.loading import load
from evaluations.suites.schema import DataSource
print(load(DataSource.model_validate_json(sys.argv[1]), 7).digest)
"""


def _digest(folder: Path, source: DataSource, seed: int) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed), DATA_VARIABLE: str(folder)}
    command = [sys.executable, "-c", PROGRAM, source.model_dump_json()]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_give_the_same_data_the_same_digest(tmp_path: Path) -> None:
    documents = [f"filing-{number}" for number in range(12)]
    rows = [{"id": str(number), "question": "Which?", "documents": documents} for number in range(3)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = DataSource(name="filings", format="questions", path="q.jsonl", origin="here", licence="ours")
    assert _digest(tmp_path, source, 1) == _digest(tmp_path, source, 2) != ""
