"""The Assistant with a Generator that holds a real, tiny Mistral in 4 bit on the processor. Its weights are random."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from rag.models import manifest
from rag.models.manifest import Manifest, PinnedFile
from rag.models.places import cache_folder
from rag.settings import Settings
from rag.testing_models import Shape, make_tiny_mistral

HERE = Path(__file__).parent
QUESTION = "Within how many business days must a bank determine whether an error occurred?"
SAMPLED = {  # at temperature 0 random weights write the same word for ever, which is found out and ended
    "TEMPERATURE": "1",
    "SEED": "7",
    "ENGINE": "mistral",
    "SERVING": "service",
    "FALLBACK": "[extractive]",
    "MAX_TOKENS": "100",
    "FIRST_TOKEN_SECONDS": "200",
    "TOKEN_SECONDS": "200",
    "DEADLINE_SECONDS": "220",
    "MISTRAL__MODEL": "tests/tiny",
    "MISTRAL__DEVICE": "cpu",
    "MISTRAL__QUANTIZATION": "nf4",
    "MISTRAL__SLOTS": "2",
}


def pinned(folder: Path, manifests: Path) -> Manifest:
    """A manifest of the files in `folder`, beside the ones that are shipped."""
    configuration = folder / "tokenizer_config.json"
    template = folder / "chat_template.jinja"  # no kind of file that is loaded; Mistral's lies in the configuration
    with_template = json.loads(configuration.read_text()) | {"chat_template": template.read_text()}
    configuration.write_text(json.dumps(with_template))
    template.unlink()
    shutil.copytree(Path(manifest.__file__).parent / "manifests", manifests)
    files = tuple(
        PinnedFile(name=each.name, sha256=hashlib.sha256(each.read_bytes()).hexdigest(), size=each.stat().st_size)
        for each in folder.iterdir()
    )
    made = Manifest(repository="tests/tiny", revision="0" * 40, license="none", origin="a test", files=files)
    (manifests / "tiny.json").write_text(made.model_dump_json(), encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def server(
    start_server: Callable[..., Any],
    make_service_settings: Callable[..., Settings],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A running Assistant that shows drafts, with its Generator; its source is ingested."""
    folder = tmp_path_factory.mktemp("tiny")
    made = make_tiny_mistral(folder / "made", shape=Shape(window=4096))
    settings = make_service_settings(models={"cache_dir": str(folder / "cache")})
    shutil.move(made, cache_folder(pinned(made, folder / "manifests"), settings))
    server = start_server(
        settings,
        *("-m", "bentoml", "serve", "tiny_assistant:Assistant", "--working-dir", str(HERE), "--port", "{port}"),
        TINY_MANIFESTS=str(folder / "manifests"),
        CACHE_DIR=str(folder / "cache"),
        BANKSIGHT__STREAMING__RELEASE="token",
        BANKSIGHT__SERVER__DEADLINE_SECONDS="240",
        **{f"BANKSIGHT__GENERATION__{name}": value for name, value in SAMPLED.items()},
    )
    server.wait_until_ready(300)
    server.ingest()
    return server


async def engine_when(client: httpx.AsyncClient, reached: Callable[[dict[str, int]], bool]) -> dict[str, int]:
    """What the engine did, once this holds of it."""
    found: dict[str, int] = {}
    for _ in range(200):
        found = (await client.get("/health")).json()["checks"]["engines"]["mistral"]
        if found["slots"] and reached(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"the engine did not get there: {found}")


async def test_it_streams_what_the_model_writes_and_quotes_where_nothing_of_it_is_supported(server: Any) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=250, trust_env=False) as client:
        before = await engine_when(client, lambda _: True)
        answer = await client.post("/v1/ask", json={"question": QUESTION, "stream": True})
        after = await engine_when(client, lambda found: found["completion_tokens"] > before["completion_tokens"])
    events = [frame.split("\ndata: ") for frame in answer.text.split("\n\n") if frame.startswith("event: ")]
    drafts = [json.loads(data)["text"] for name, data in events if name == "event: draft"]
    (done,) = (json.loads(data) for name, data in events if name == "event: answer")
    noise, _, quoted = "".join(drafts).partition("A financial institution shall")  # of the model, then of its stand-in
    assert len(noise) > 50
    assert "10 business days" in quoted
    assert (done["engine"], done["degraded"], done["cacheable"]) == ("extractive", "unsupported", False)
    assert "10 business days" in done["text"]
    assert after["failed"] == 0


async def test_a_reader_who_hangs_up_frees_the_slot(server: Any) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=250, trust_env=False) as client:
        before = await engine_when(client, lambda found: found["running"] == 0)
        async with client.stream("POST", "/v1/ask", json={"question": QUESTION, "stream": True}) as answer:
            async for line in answer.aiter_lines():
                if line == "event: draft":
                    break
        after = await engine_when(client, lambda found: found["cancelled"] > before["cancelled"])
        assert after["completed"] == before["completed"]
        assert (await engine_when(client, lambda found: found["running"] == 0))["waiting"] == 0
