"""How often the response cache has the answer, how often it has the wrong one, and what it costs: `make bench`.

The questions are made, not collected: 2,000 intents (25 products x 20 subjects x 4 conditions, so that many differ in
one number, date, negation, currency or product only), each with 10 phrasings. A phrasing is one of some wordings, which
are true rewordings that no spelling rule can make equal, written in a manner of its own: greeting, request, thanks,
case, punctuation, contraction, typography. Intents, and the phrasings of each, are asked by Zipf's law (s = 1). Every
window begins with an empty cache, as when a time to live has passed for all. The questions go through the product's own
cache; only the pipeline behind it is replaced by one that answers with the number of the intent.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import click
import numpy as np

from evaluations.timing import percentile, table
from rag.domain import Answer, Citation, Document, Principal, SearchFilter
from rag.models.embedding import open_embedding
from rag.query.caching import CachedAnswers, Parts
from rag.query.events import AskRequest, Completed, Event
from rag.query.pipeline import QueryPipeline
from rag.query.questions import clean_question
from rag.query.run import Standing
from rag.settings import Settings, load_settings
from rag.storage.cache import SharedAnswers
from rag.storage.redis_connection import RedisConnection
from rag.storage.sealing import Sealer

PHRASINGS: Final = 10
WINDOW: Final = 1_000  # requests within one time to live
TARGET: Final = 0.35
_SIMILARITIES: Final = (0.90, 0.95, 0.98)
_PERSON: Final = Principal("local")
_KINDS: Final = {
    "account": ("basic", "student", "premium", "joint", "business", "savings", "escrow"),
    "card": ("debit", "credit", "gold", "prepaid", "virtual", "company"),
    "loan": ("personal", "car", "student", "home", "bridge", "green"),
    "transfer": ("foreign", "instant", "standing", "bulk", "wire", "reverse"),
}
_PRODUCTS: Final = tuple(f"{kind} {product}" for product, kinds in _KINDS.items() for kind in kinds)
_SUBJECTS: Final = (
    "monthly fee", "annual fee", "opening fee", "closing fee", "late fee", "interest rate", "penalty rate",
    "daily limit", "monthly limit", "minimum balance", "notice period", "minimum term", "maximum term",
    "cancellation deadline", "error deadline", "age limit", "liability cap", "insurance cover",
    "exchange margin", "processing time",
)  # fmt: skip
_CONDITIONS: Final = (
    ("in 2023", "in 2024", "above $5,000", "below $5,000"),
    ("above $5,000", "above €5,000", "if notice was given", "if notice was not given"),
    ("before maturity", "after maturity", "with a guarantor", "without a guarantor"),
    ("on 1 March 2024", "on 1 May 2024", "at 5%", "at 5.5%"),
)
_WORDINGS: Final = (
    "What is the {subject} of the {product} {condition}?",
    "How high is the {subject} for the {product} {condition}?",
    "Which {subject} applies to the {product} {condition}?",
    "{product}: {subject} {condition}?",
    "I need the {subject} of my {product} {condition}.",
    "What {subject} does the bank set for the {product} {condition}?",
    "Does the {product} have a {subject} {condition}, and what is it?",
    "{condition}, what is the {subject} of the {product}?",
    "Explain the {subject} of the {product} {condition}.",
    "For the {product} {condition}, which {subject} is in the terms?",
)
_BEFORE: Final = (*[""] * 6, "Hi, ", "Hello! ", "Good morning, ", "Hi there - ", "Please tell me: ", "Dear team,\n")
_AFTER: Final = (*[""] * 6, " Thanks!", " Thank you very much.", " please")
_SPELLINGS: Final[tuple[Callable[[str], str], ...]] = (
    str, str, str, str.lower, str.lower, str.upper,
    lambda text: text.rstrip("?."), lambda text: text.rstrip("?.") + " ??", lambda text: text.replace(" ", "  ", 3),
    lambda text: text.replace("What is", "What's"), lambda text: text.replace("What is", "What’s"),
    lambda text: text.replace(" ", "\u00a0", 2), lambda text: f"“{text}”",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it is put, and what it is about."""

    text: str
    intent: int


@dataclass(frozen=True, slots=True)
class Hits:
    """Of `requests`, those that were answered by the cache, and those of them with another intent's answer."""

    requests: int
    hits: int
    wrong: int

    def cells(self) -> list[str]:
        """The hit rate and the number of wrong hits."""
        return [f"{100 * self.hits / self.requests:.1f} %", f"{self.wrong}"]


@click.command()
@click.option("--windows", default=5, show_default=True, help="Times to live that are replayed for each row.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--models", type=click.Path(path_type=Path), default=Path("var/models"), help="Where the encoder is kept."
)
def main(windows: int, seed: int, models: Path) -> None:
    """Print hit rates, wrong hits and times."""
    settings = load_settings("test", environment={})
    click.echo(
        f"{len(list(_intents()))} intents x {PHRASINGS} phrasings, {WINDOW} requests in each of {windows} windows\n"
    )
    rows = [["rewordings among the phrasings", "same text", "wrong", "ours", "wrong", "same intent"]]
    for wordings in (1, 2, 5, 10):
        replays = [_window(wordings, seed, window) for window in range(windows)]
        exact = _sum(_replayed_exactly(asked) for asked in replays)
        ours = _sum(asyncio.run(_replayed(asked, settings)) for asked in replays)
        ideal = sum(len(asked) - len({each.intent for each in asked}) for asked in replays) / exact.requests
        rows.append([f"{wordings} of {PHRASINGS}", *exact.cells(), *ours.cells(), f"{100 * ideal:.1f} %"])
        if wordings == 5:
            met = "met" if ours.hits >= TARGET * ours.requests and not ours.wrong else "MISSED"
    click.echo(table(rows))
    click.echo(f"\ntarget for 5 of 10: at least {TARGET:.0%} and none wrong: {met}\n")
    click.echo(_similarity(_window(5, seed, 0), models) + "\n")
    click.echo(_times(settings))


# --- questions ----------------------------------------------------------------------------------------------------


def _intents() -> Iterator[tuple[str, str, str]]:
    for place, (product, subject) in enumerate(itertools.product(_PRODUCTS, _SUBJECTS)):
        for condition in _CONDITIONS[place % len(_CONDITIONS)]:
            yield product, subject, condition


def _window(wordings: int, seed: int, window: int) -> list[Asked]:
    """What is asked within one time to live. Which intents and phrasings are popular depends on `seed` alone."""
    fixed, chance = np.random.default_rng(seed), np.random.default_rng([seed, window, 1])
    intents = list(_intents())
    popular = fixed.permutation(len(intents))
    phrasings = [_phrasings(intent, wordings, fixed) for intent in intents]
    wanted = popular[chance.choice(len(intents), WINDOW, p=_zipf(len(intents)))]
    manners = chance.choice(PHRASINGS, WINDOW, p=_zipf(PHRASINGS))
    return [Asked(phrasings[intent][manner], int(intent)) for intent, manner in zip(wanted, manners, strict=True)]


def _zipf(number: int) -> Any:
    weights = 1 / np.arange(1, number + 1)
    return weights / weights.sum()


def _phrasings(intent: tuple[str, str, str], wordings: int, chance: np.random.Generator) -> list[str]:
    product, subject, condition = intent
    order = chance.permutation(len(_WORDINGS))[:wordings]
    made = []
    for number in range(PHRASINGS):
        text = _WORDINGS[order[number % wordings]].format(product=product, subject=subject, condition=condition)
        spelled = _SPELLINGS[chance.integers(len(_SPELLINGS))](text[0].upper() + text[1:])
        made.append(f"{_BEFORE[chance.integers(len(_BEFORE))]}{spelled}{_AFTER[chance.integers(len(_AFTER))]}")
    return [made[place] for place in chance.permutation(PHRASINGS)]


# --- replays ------------------------------------------------------------------------------------------------------


class _Pipeline:
    """Answers with the number of the intent, and needs no time for it."""

    def __init__(self) -> None:
        self.intent = 0

    def standing(self, request: AskRequest, _: Principal) -> Standing:
        question = clean_question(request.question, 4000)
        return Standing(question, question)

    async def stream(self, request: AskRequest, _: Principal) -> AsyncGenerator[Event, None]:
        citation = Citation(1, "0" * 16, "Terms", "", 1, "1", 0, 5, "terms", "")
        text = f"{self.intent}"
        yield Completed(Answer("1", request.question, text, "answered", citations=(citation,), snapshot=1))


class _Corpus:
    snapshot = 1

    def refresh(self) -> int:
        return 1

    def scopes(self, _: Principal, __: SearchFilter) -> list[str]:
        return ["terms"]

    def labels(self, _: Principal) -> list[str]:
        return []


def _versions(ids: Iterable[str]) -> dict[str, Document]:
    document = Document(
        "0" * 16,
        "terms",
        "terms.md",
        "Terms",
        "terms",
        "default",
        "text/markdown",
        "",
        "0" * 64,
        frozenset(),
        "indexed",
    )
    return dict.fromkeys(ids, document)


def _opened(settings: Settings, redis: RedisConnection | None = None) -> tuple[CachedAnswers, _Pipeline]:
    shared = SharedAnswers(redis, settings.cache.flight_seconds) if redis else None
    parts = Parts(Sealer(b"0" * 64), shared, _Corpus(), _versions, "", settings.server.deadline_seconds)
    pipeline = _Pipeline()
    return CachedAnswers(cast(QueryPipeline, pipeline), parts, settings.cache), pipeline


async def _replayed(asked: Sequence[Asked], settings: Settings) -> Hits:
    answers, pipeline = _opened(settings)
    hits = wrong = 0
    for each in asked:
        pipeline.intent = each.intent
        answer = await answers.ask(AskRequest(each.text), _PERSON)
        hits += answer.cached
        wrong += answer.text != f"{each.intent}"
    return Hits(len(asked), hits, wrong)


def _replayed_exactly(asked: Sequence[Asked]) -> Hits:
    """A cache by the bare text of the question, as LangChain's and others' are."""
    held: dict[str, int] = {}
    known = [held.setdefault(each.text, each.intent) if each.text in held else held.update({each.text: each.intent})
             for each in asked]  # fmt: skip
    wrong = sum(1 for found, each in zip(known, asked, strict=True) if found is not None and found != each.intent)
    return Hits(len(asked), sum(found is not None for found in known), wrong)


def _similarity(asked: Sequence[Asked], models: Path) -> str:
    """The same window with a cache by similarity, as GPTCache is one: the nearest question above a threshold."""
    encoder = open_embedding(load_settings("laptop", environment={}).embedding, models, "bulk")
    vectors = np.asarray(encoder.embed([each.text for each in asked]))
    rows = [["by similarity of MiniLM, one window, 5 of 10", "hits", "wrong"]]
    for threshold in _SIMILARITIES:
        held: list[int] = []
        hits = wrong = 0
        for place, each in enumerate(asked):
            scores = vectors[held] @ vectors[place] if held else np.zeros(1)
            nearest = int(scores.argmax())
            if scores[nearest] >= threshold:
                hits += 1
                wrong += asked[held[nearest]].intent != each.intent
            else:
                held.append(place)
        rows.append([f"cosine of at least {threshold}", *Hits(len(asked), hits, wrong).cells()])
    return table(rows)


def _sum(all_of: Iterable[Hits]) -> Hits:
    found = list(all_of)
    return Hits(
        sum(each.requests for each in found), sum(each.hits for each in found), sum(each.wrong for each in found)
    )


# --- times --------------------------------------------------------------------------------------------------------


def _times(settings: Settings) -> str:
    """What the cache adds to a question, with Redis well, killed and frozen."""
    rows = [["added by the cache, milliseconds", "p50", "p95", "most", "processor"]]
    rows.append(_row("hit in the process", asyncio.run(_timed(settings, None, repeat=True))))
    rows.append(_row("miss, no Redis configured", asyncio.run(_timed(settings, None))))
    if shutil.which("redis-server") is None:
        return table(rows) + "\n\nredis-server is not installed, so nothing was measured with Redis"
    for name, fault in (("well", None), ("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
        with _redis() as (url, process):
            redis = RedisConnection(settings.redis.model_copy(update={"url": type(settings.redis.url)(url)}))
            redis.reachable()
            if fault is not None:
                process.send_signal(fault)
            failures = settings.redis.breaker_failures
            first = asyncio.run(_timed(settings, redis, questions=failures))
            later = asyncio.run(_timed(settings, redis))
            redis.close()
        if fault is not None:
            rows.append(_row(f"miss, Redis {name}: the first {failures}", first))
        rows.append(_row(f"miss, Redis {name}" + (": after them" if fault else ""), later))
    return table(rows)


async def _timed(
    settings: Settings, redis: RedisConnection | None, *, questions: int = 200, repeat: bool = False
) -> tuple[list[float], float]:
    """Seconds of the clock for each question, and of the processor for one."""
    answers, _ = _opened(settings, redis)
    await answers.ask(AskRequest("Is this the first question of all?"), _PERSON)
    seconds = []
    processor = time.process_time()
    for number in range(questions):
        began = time.perf_counter()
        text = "Is this the first question of all?" if repeat else f"What is the fee of account type {number}?"
        await answers.ask(AskRequest(text), _PERSON)
        seconds.append(time.perf_counter() - began)
    return seconds, (time.process_time() - processor) / questions


def _row(name: str, measured: tuple[list[float], float]) -> list[str]:
    seconds, processor = measured
    values = (percentile(seconds, 0.5), percentile(seconds, 0.95), max(seconds), processor)
    return [name, *(f"{1000 * value:.1f}" for value in values)]


@contextmanager
def _redis() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", f"{port}", "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with socket.socket() as probe:
                while probe.connect_ex(("127.0.0.1", port)) != 0:
                    time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}/0", process
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
