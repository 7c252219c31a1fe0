"""How well generated sentences are verified, next to the plain ways of doing it.

    python -m evaluations.grounding_benchmark --data DATA --cache CACHE

Numbers: the short answers of TAT-QA, right ones and ones spoiled by rule, each with its table and text; balanced
accuracy of tracing, with calculations shown and named, and of looking for the digits; and the calculated ones with
their calculation written out, where also an operand may be a wrong one. Claims: WiCE, AUROC of supported
against the rest, for the shipped model and for MiniLM's cosine and word overlap alone, on pages of at most 80
sentences. Both on the half that nothing was fitted on; intervals are 95 % bootstrap intervals over tables and claims.
Quotations: sentences of TAT-QA's texts, as they are and with two words exchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import click
import numpy as np

from evaluations.datasets.calculations import statements_with_calculations
from evaluations.datasets.grounding import Claim, NumberStatement, claims, number_statements
from evaluations.metrics.grounding import Flags, Rows, Scores, auroc, balanced_accuracy, digits_stand, interval
from evaluations.timing import table
from rag.domain import DocumentPage, Passage
from rag.models.embedding import open_embedding
from rag.query.evidence import Evidence
from rag.query.grounding import judge, locate
from rag.query.number_grounding import Arithmetic, trace
from rag.query.prompting import escape_markers
from rag.query.sentences import sentence_spans
from rag.query.similarity import Encoder, SentenceVectors
from rag.query.statements import Statement
from rag.query.support import measure_support, shipped_model
from rag.query.words import stems
from rag.settings import load_settings

_LONGEST: Final = 80  # sentences of a page; the cosine baseline embeds all of them
_RESAMPLES: Final = 2000


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True, help="The evaluation data.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Where the exported encoder is kept.")
def main(data: Path, cache: Path) -> None:
    """Print all figures."""
    statements = [each for each in number_statements(data) if each.part == "held out"]
    click.echo(f"\n{len(statements)} number statements of TAT-QA\n")
    click.echo(table(number_rows(statements)) + "\n")
    written_out = [each for each in statements_with_calculations(data) if each.part == "held out"]
    click.echo(f"{len(written_out)} statements of TAT-QA, which show their calculation where they are calculated\n")
    click.echo(table(number_rows(written_out)) + "\n")
    click.echo(table(quote_rows(statements)))
    encoder = open_embedding(load_settings("laptop", environment={}).embedding, cache / "models", "bulk")
    items = [each for each in claims(data) if each.part == "held out" and len(each.sentences) <= _LONGEST]
    click.echo(f"\n{len(items)} claims of WiCE, {sum(each.supported for each in items)} supported\n")
    click.echo(table(claim_rows(items, SentenceVectors(encoder))))


def number_rows(statements: Sequence[NumberStatement]) -> list[list[str]]:
    """A row for each way: accepted shares by kind, balanced accuracy with its interval, milliseconds."""
    supported = np.array([each.supported for each in statements])
    clusters = [each.context_id for each in statements]
    kinds = sorted({(not each.supported, each.kind) for each in statements})
    rows = [["accepted", *(kind for _, kind in kinds), "balanced accuracy", "95 %", "ms"]]
    for name in ("digits stand", "traced, calculations shown", "traced, calculations named"):
        began = time.perf_counter()
        accepted = np.array([_accepts(name, each) for each in statements])
        seconds = time.perf_counter() - began
        low, high = interval(_accuracy_on(supported, accepted), clusters, resamples=_RESAMPLES)
        shares = [
            accepted[[each.kind == kind and each.supported is not wrong for each in statements]].mean()
            for wrong, kind in kinds
        ]
        rows.append(
            [
                name,
                *(f"{share:.3f}" for share in shares),
                f"{balanced_accuracy(supported, accepted):.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{1000 * seconds / len(statements):.1f}",
            ]
        )
    return rows


def quote_rows(statements: Sequence[NumberStatement]) -> list[list[str]]:
    """How many sentences are quoted exactly, and how many with two words exchanged are caught."""
    exact = caught = total = 0
    for text in sorted({each.context.split("\n\n", 1)[1] for each in statements}):
        source = _evidence(text)
        for span in sentence_spans(text):
            words = text[span.start : span.end].split()
            swapped = [*words[:-2], words[-1], words[-2]] if len(words) > 3 else words
            if swapped == words or locate(" ".join(swapped), text):
                continue
            total += 1
            verdict = judge(Statement("", f"{escape_markers(' '.join(words))} [1]"), [source], "verbatim")
            quoted = [quote for group in verdict.quotes for quote in group]
            exact += verdict.supported and all(text[quote.start : quote.end].split() == words for quote in quoted)
            changed = judge(Statement("", f"{escape_markers(' '.join(swapped))} [1]"), [source], "verbatim")
            caught += not changed.supported
    return [["quotations", "sentences", "exact", "changed ones caught"], ["", str(total), str(exact), str(caught)]]


def _evidence(text: str) -> Evidence:
    passage = Passage("p", "d", "", "", 1, "", 0, len(text), text, 1.0)
    return Evidence(passage, DocumentPage("d", 1, "", text), 0, len(text), 1.0)


def _accuracy_on(supported: Flags, accepted: Flags) -> Callable[[Rows], float]:
    return lambda rows: balanced_accuracy(supported[rows], accepted[rows])


def _auroc_on(supported: Flags, scores: Scores) -> Callable[[Rows], float]:
    return lambda rows: auroc(supported[rows], scores[rows])


def _difference(one: Callable[[Rows], float], other: Callable[[Rows], float]) -> Callable[[Rows], float]:
    return lambda rows: one(rows) - other(rows)


def _accepts(name: str, each: NumberStatement) -> bool:
    if name == "digits stand":
        return digits_stand(each.statement, each.context)
    arithmetic: Arithmetic = "named" if name.endswith("named") else "shown"
    return not trace(each.statement, [each.context], context=each.question, arithmetic=arithmetic)[0]


def claim_rows(items: Sequence[Claim], encoder: Encoder) -> list[list[str]]:
    """A row for each way: AUROC with its interval, the gain over the cosine with its interval, milliseconds."""
    supported = np.array([each.supported for each in items])
    clusters = [each.id for each in items]
    for each in items:
        encoder.embed([each.claim, *each.sentences])  # remembered, so that times are those of the checks
    timed = {name: _timed(name, items, encoder) for name in ("MiniLM cosine", "word overlap", "support model")}
    baseline = timed["MiniLM cosine"][0]
    rows = [["score", "AUROC", "95 %", "gain over the cosine", "95 %", "ms, vectors at hand"]]
    for name, (scores, milliseconds) in timed.items():
        low, high = interval(_auroc_on(supported, scores), clusters, resamples=_RESAMPLES)
        ours, cosine = _auroc_on(supported, scores), _auroc_on(supported, baseline)
        gain_low, gain_high = interval(_difference(ours, cosine), clusters, resamples=_RESAMPLES)
        rows.append(
            [
                name,
                f"{auroc(supported, scores):.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{auroc(supported, scores) - auroc(supported, baseline):+.3f}",
                f"{gain_low:+.3f} to {gain_high:+.3f}",
                f"{milliseconds:.1f}",
            ]
        )
    return rows


def _timed(name: str, items: Sequence[Claim], encoder: Encoder) -> tuple[Scores, float]:
    began = time.perf_counter()
    scores = np.array([_score(name, each, encoder) for each in items])
    return scores, 1000 * (time.perf_counter() - began) / len(items)


def _score(name: str, each: Claim, encoder: Encoder) -> float:
    if name == "support model":
        return shipped_model().probability(measure_support(each.claim, each.sentences, encoder))
    if name == "word overlap":
        said = set(stems(each.claim))
        return len(said & {stem for sentence in each.sentences for stem in stems(sentence)}) / max(1, len(said))
    vectors = encoder.embed([each.claim, *each.sentences])
    return float((vectors[1:] @ vectors[0]).max())


if __name__ == "__main__":
    main()
