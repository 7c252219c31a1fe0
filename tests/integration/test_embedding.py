"""The real model: equal to sentence-transformers, in order, from many threads and coroutines, without torch."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.errors import ModelError
from rag.models.embedding import LocalMiniLM, MiniLM, fingerprint, open_embedding
from rag.models.equality import gate_texts
from rag.models.weights import find_weights
from rag.settings import EmbeddingSettings, load_settings

ROOT = Path(__file__).parents[2]
SETTINGS = load_settings("test", environment={}).embedding


def open_with(cache: Path, purpose: str = "query", **changes: object) -> MiniLM:
    settings = EmbeddingSettings.model_validate(SETTINGS.model_dump() | changes)
    return open_embedding(settings, cache, purpose)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def query(cache: Path) -> MiniLM:
    return open_with(cache)


@pytest.fixture(scope="module")
def reference() -> NDArray[np.float32]:
    """What sentence-transformers itself says about the gate's texts, with its own tokenising, cutting and batching."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - loads torch, which other tests do without

    model = SentenceTransformer(str(find_weights().folder), device="cpu", local_files_only=True)
    vectors: NDArray[np.float32] = model.encode(gate_texts(), normalize_embeddings=True)
    return vectors


def smallest_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float((first * second).sum(axis=1).min())


@pytest.mark.parametrize(
    ("purpose", "changes", "backend", "floor"),
    [
        ("query", {"query_backend": "onnx"}, "onnx", 0.999999),
        ("query", {"query_backend": "sentence_transformers"}, "sentence_transformers", 0.999999),
        ("bulk", {"bulk_backend": "openvino"}, "openvino", 0.9999),
    ],
)
def test_every_backend_gives_the_vectors_of_sentence_transformers(
    reference: NDArray[np.float32], cache: Path, purpose: str, changes: dict[str, object], backend: str, floor: float
) -> None:
    embedding = open_with(cache, purpose, **changes)
    vectors = embedding.embed(gate_texts())
    assert vectors.dtype == np.float32
    assert vectors.shape == (64, 384)
    assert smallest_cosine(vectors, reference) >= floor
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    assert embedding.backend == backend
    assert embedding.fingerprint == fingerprint()


def test_order_is_kept_although_batches_are_sorted_by_length(query: MiniLM) -> None:
    texts = ["a fee " * n for n in (40, 1, 17, 200, 3, 90)]
    together, alone = query.embed(texts), np.concatenate([query.embed([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5


def test_batches_hold_at_most_the_configured_texts_and_word_pieces(cache: Path) -> None:
    embedding = open_with(cache, batch_size=4, batch_pieces=256)
    embedding.embed([f"rate {n}" for n in range(10)])
    assert embedding.model_calls == 3  # 4 + 4 + 2 texts
    embedding.embed([f"{n} " + "interest " * 300 for n in range(3)])
    assert embedding.model_calls == 3 + 3  # 256 word pieces each


def test_identical_texts_are_computed_once(cache: Path) -> None:
    embedding = open_with(cache, batch_size=2)
    vectors = embedding.embed(["a fee", "A FEE", "a fee", "a rate"])  # the model does not see capitals
    assert embedding.model_calls == 1
    assert np.array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[0], vectors[3])


def test_nothing_to_embed_gives_no_rows_and_asks_nobody(cache: Path) -> None:
    embedding = open_with(cache)
    assert embedding.embed([]).shape == (0, 384)
    assert embedding.model_calls == 0


@pytest.mark.parametrize("text", ["", " \n\t", "\x00", "\ud800 broken", "\N{BANK}" * 50, "x" * 100_000, "a " * 50_000])
def test_strange_texts_give_unit_vectors(query: MiniLM, text: str) -> None:
    vector = query.embed([text])[0]
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5


def test_what_lies_beyond_256_word_pieces_does_not_count(query: MiniLM) -> None:
    start = "deposit " * 254  # [CLS] and [SEP] are word pieces too
    inside, beyond = query.embed([start + "account", start]), query.embed(["deposit " * 253 + "account", start])
    assert np.array_equal(inside[0], inside[1])
    assert not np.array_equal(beyond[0], beyond[1])


@pytest.mark.parametrize("wrong", ["one string", [b"bytes"], ["text", None]])
def test_other_things_than_texts_are_refused(query: MiniLM, wrong: list[str]) -> None:
    with pytest.raises(TypeError, match="sequence of strings"):
        query.embed(wrong)


def test_tokenizer_shows_texts_uncut_and_unpadded(query: MiniLM) -> None:
    lengths = [len(each.ids) for each in query.tokenizer.encode_batch(["fee", "fee " * 400])]
    assert lengths == [3, 402]


@pytest.mark.parametrize("purpose", ["query", "bulk"])
def test_many_threads_get_what_one_would(cache: Path, purpose: str) -> None:
    embedding = open_with(cache, purpose)
    groups = [[f"{'liability ' * (n % 9 + 1)}{n} {m}" for m in range(5)] for n in range(24)]
    expected = [embedding.embed(group) for group in groups]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(embedding.embed, groups))
    assert min(smallest_cosine(a, b) for a, b in zip(expected, found, strict=True)) > 0.99999


def test_llama_index_methods_agree_with_embed(query: MiniLM) -> None:
    texts = ["What is the fee?", "Net income rose.", ""]
    expected = query.embed(texts)
    assert np.allclose(query.get_text_embedding_batch(texts), expected, atol=1e-5)
    assert np.allclose(query.get_query_embedding(texts[0]), expected[0], atol=1e-5)
    assert np.allclose(query.get_text_embedding(texts[1]), expected[1], atol=1e-5)
    assert np.allclose(asyncio.run(query.aget_query_embedding(texts[0])), expected[0], atol=1e-5)
    assert np.allclose(asyncio.run(query.aget_text_embedding_batch(texts)), expected, atol=1e-5)


async def test_questions_of_the_same_moment_share_forward_passes(cache: Path) -> None:
    embedding = open_with(cache, batch_size=32)
    questions = [f"What is fee number {n}?" for n in range(64)]
    vectors = await asyncio.gather(*(embedding.aget_query_embedding(question) for question in questions))
    assert embedding.model_calls == 2
    assert np.allclose(vectors, embedding.embed(questions), atol=1e-5)


async def test_a_question_that_comes_alone_is_a_forward_pass_of_its_own(cache: Path) -> None:
    embedding = open_with(cache)
    for n in range(3):
        await embedding.aget_query_embedding(f"Question {n}?")
    assert embedding.model_calls == 3


async def test_event_loop_runs_on_while_questions_are_embedded(query: MiniLM) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await query.aget_query_embedding("interest " * 200)
    counting.cancel()
    assert turns > 10


async def test_a_cancelled_question_is_dropped_and_its_neighbours_are_answered(cache: Path) -> None:
    embedding = open_with(cache)
    first, second = (asyncio.create_task(embedding.aget_query_embedding(f"Question {n}?")) for n in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await second) == 384
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_question_that_is_no_text_fails_alone(cache: Path) -> None:
    embedding = open_with(cache)
    wrong: str = None  # type: ignore[assignment]
    asked = [embedding.aget_query_embedding(text) for text in ("What is the fee?", wrong, "What is the rate?")]
    first, second, third = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(second, TypeError)
    assert isinstance(first, list)
    assert isinstance(third, list)


def test_one_instance_serves_several_event_loops(query: MiniLM) -> None:
    def ask(number: int) -> list[float]:
        return asyncio.run(query.aget_query_embedding(f"Question {number}?"))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(12)))
    assert np.allclose(found, query.embed([f"Question {n}?" for n in range(12)]), atol=1e-5)


def test_process_that_finds_the_exported_graph_never_loads_torch(cache: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from rag.models.embedding import open_embedding
from rag.settings import load_settings
settings = load_settings("test", environment={{}}).embedding
for purpose in ("query", "bulk"):
    embedding = open_embedding(settings, Path({str(cache)!r}), purpose)
    print(embedding.embed(["What is the fee?"]).shape, embedding.backend)
print(sorted({{"torch", "transformers", "sentence_transformers", "onnx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(1, 384) onnx", "(1, 384) openvino", "[]"]


class BrokenEncoder:
    """Gives what a broken runtime would give."""

    name = "broken"

    def __init__(self, value: float | None) -> None:
        self.value = value

    def encode(self, batches: object, out: NDArray[np.float32]) -> int:
        if self.value is None:
            raise RuntimeError("no memory")
        out[:] = self.value
        return 1


@pytest.mark.parametrize(("value", "message"), [(float("nan"), "not finite"), (None, "no memory")])
def test_broken_runtime_is_an_error_and_never_a_vector(value: float | None, message: str) -> None:
    embedding = LocalMiniLM(BrokenEncoder(value), find_weights(), SETTINGS)
    with pytest.raises(ModelError, match=message):
        embedding.embed(["What is the fee?"])


def test_bulk_embedding_opens_without_loading_the_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[float] = []
    monkeypatch.setattr("rag.models.embedding._open_encoder", lambda *_: opened.append(time.monotonic()))
    embedding = open_with(cache, "bulk")
    assert len(embedding.tokenizer.encode("fee").ids) == 3
    assert embedding.embed([]).shape == (0, 384)
    assert opened == []
