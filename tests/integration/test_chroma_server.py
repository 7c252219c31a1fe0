"""Vectors on a real Chroma server: the same promises as embedded, and a clear word when it is away."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from rag.bootstrap import open_workspace
from rag.domain import Principal, SearchFilter
from rag.errors import ConfigurationError, IndexMismatch, StorageUnavailable
from rag.settings import load_settings
from rag.storage.vectors import VectorIndex

ROWS = np.eye(4, 384, dtype=np.float32)


@pytest.fixture
def server(tmp_path: Path, free_port: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    program = Path(sys.executable).with_name("chroma")
    command = [str(program), "run", "--path", str(tmp_path / "server"), "--port", str(free_port)]
    log = (tmp_path / "chroma.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    log.close()
    until = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{free_port}/api/v2/heartbeat").raise_for_status()
            break
        except httpx.HTTPError:
            assert process.poll() is None, (tmp_path / "chroma.log").read_text()
            assert time.monotonic() < until, "the Chroma server did not start"
            time.sleep(0.1)
    yield process, free_port
    process.kill()
    process.wait()


def test_rows_are_found_replaced_and_deleted(server: tuple[subprocess.Popen[bytes], int]) -> None:
    index = VectorIndex.server("127.0.0.1", server[1], 5, "encoder")
    index.upsert("rules-1", ["a", "b"], ROWS[:2], [{"page": 1}, {"page": 2}])
    index.upsert("rules-1", ["b"], ROWS[2:3], [{"page": 3}])
    assert index.query(["rules-1", "missing"], ROWS[2], 1) == [("b", pytest.approx(1.0))]
    assert np.allclose(index.vectors([("rules-1", "b"), ("rules-1", "c")])["b"], ROWS[2])
    index.delete([("rules-1", "a"), ("missing", "a")])
    assert index.ids() == {("rules-1", "b")}
    index.close()


def test_vectors_of_another_encoder_are_refused(server: tuple[subprocess.Popen[bytes], int]) -> None:
    first = VectorIndex.server("127.0.0.1", server[1], 5, "one encoder")
    first.upsert("rules-1", ["a"], ROWS[:1], [{"page": 1}])
    first.close()
    second = VectorIndex.server("127.0.0.1", server[1], 5, "another encoder")
    with pytest.raises(IndexMismatch, match="--rebuild"):
        second.query(["rules-1"], ROWS[0], 1)
    second.close()


def test_a_server_that_dies_is_reported_and_one_that_is_not_there_too(
    server: tuple[subprocess.Popen[bytes], int], free_port: int
) -> None:
    index = VectorIndex.server("127.0.0.1", server[1], 5, "encoder")
    index.upsert("rules-1", ["a"], ROWS[:1], [{"page": 1}])
    server[0].kill()
    server[0].wait()
    with pytest.raises(StorageUnavailable, match="Chroma could not search"):
        index.query(["rules-1"], ROWS[0], 1)
    index.close()
    with pytest.raises(StorageUnavailable, match=r"no Chroma server answers at 127\.0\.0\.1"):
        VectorIndex.server("127.0.0.1", server[1], 5, "encoder")


def test_ingestion_and_search_with_every_store_a_server(
    server: tuple[subprocess.Popen[bytes], int], postgres_url: str, corpus_folder: Path, tmp_path: Path
) -> None:
    overrides = {
        "data_dir": str(tmp_path / "data"),
        "sources": [{"name": "papers", "collection": "rules", "root": str(corpus_folder)}],
        "storage": {
            "chroma": "server", "chroma_host": "127.0.0.1", "chroma_port": server[1], "database_url": postgres_url,
        },
    }  # fmt: skip
    workspace = open_workspace(load_settings("test", environment={}, overrides=overrides))
    assert workspace.ingest().count("added") == 3
    (corpus_folder / "fees.csv").unlink()
    assert workspace.ingest().count("deleted") == 1
    passages = workspace.searcher.search("notice of error within business days", Principal("a"), SearchFilter(), 3)
    assert "10 business days" in passages[0].text
    assert workspace.check().agrees
    workspace.close()


def test_a_full_disk_is_blamed_and_not_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "chroma"
    place.write_text("this is no folder, so that nothing can be opened here")
    with pytest.raises(ConfigurationError, match="another version or is damaged"):
        VectorIndex.embedded(place, "encoder")
    monkeypatch.setattr("rag.storage.vectors.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        VectorIndex.embedded(place, "encoder")
