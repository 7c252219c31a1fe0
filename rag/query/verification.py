"""Everything that a generated statement must pass before it is released, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence

from rag.query.entailment import Entailment
from rag.query.evidence import Evidence
from rag.query.grounding import MARKER_GROUP, Mode, SupportCheck, Verdict, judge
from rag.query.number_grounding import Arithmetic
from rag.query.similarity import Encoder
from rag.query.statements import Statement, sentences_of
from rag.query.support import shipped_model


class Verification:
    """Checks statements against the evidence that they cite: words, names, numbers and, where there is one, a judge."""

    def __init__(self, encoder: Encoder, arithmetic: Arithmetic, entailment: Entailment | None = None) -> None:
        self._check = SupportCheck(encoder, shipped_model(), arithmetic)
        self._entailment = entailment

    async def verdicts(
        self,
        statement: Statement,
        evidence: Sequence[Evidence],
        mode: Mode,
        last: Callable[[Verdict], Verdict] = lambda verdict: verdict,
    ) -> AsyncGenerator[tuple[Statement, Verdict], None]:
        """Each sentence of the statement with its verdict, over which `last`, which may block, has the last word.

        A verbatim quotation stays whole.
        """
        for sentence in [statement] if mode == "verbatim" else sentences_of(statement):
            if mode == "verbatim" or self._entailment is None:  # all in one thread: each change costs
                verdict = await asyncio.to_thread(self._decided, sentence, evidence, mode, last)
            else:
                verdict = await asyncio.to_thread(judge, sentence, evidence, mode, self._check)
                if verdict.supported:
                    verdict = await self._judged(sentence, evidence, verdict, self._entailment)
                verdict = await asyncio.to_thread(last, verdict)
            yield sentence, verdict

    def _decided(
        self, sentence: Statement, evidence: Sequence[Evidence], mode: Mode, last: Callable[[Verdict], Verdict]
    ) -> Verdict:
        return last(judge(sentence, evidence, mode, self._check))

    async def _judged(
        self, sentence: Statement, evidence: Sequence[Evidence], verdict: Verdict, entailment: Entailment
    ) -> Verdict:
        """The verdict, unless the judge says no."""
        cited = dict.fromkeys(quote for group in verdict.quotes for quote in group)
        said = [evidence[quote.number - 1].text[quote.start : quote.end] for quote in cited]
        if await entailment.entails(said, MARKER_GROUP.sub("", sentence.text)) is False:
            return Verdict(False, "the judge does not find it in the citation", (), verdict.unknown)
        return verdict
