"""The fixed texts on which a runtime must agree with fp32 before its vectors may enter an index.

Measured with OpenVINO bf16: 0.99995 or more on these texts, 0.99997 or more on regulations and questions. One long word
repeated to the limit, which no document holds and which is not among them, reaches 0.99988.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

_SENTENCES: Final = (
    "A consumer must notify the institution within two business days after learning of the loss of an access device.",
    "Net interest income was $1,284 million, up 7% from the same quarter of the previous year.",
    "§ 1005.11(c)(2): provisional credit is given within 10 business days of receiving the notice of error.",
    "The Tier 1 capital ratio stood at 13.4%, against a minimum of 6.0%.",
    "Who may see my account?",
    "| Quarter | Loans | Deposits | 2023 | 41,207 | 88,910 |",
    "Überweisungen in die Schweiz dauern bis zu drei Bankarbeitstage; 手数料は無料です。",
    "The creditor shall disclose the annual percentage rate, using that term, and a brief description such as 'the "
    "cost of your credit as a yearly rate', before the first transaction is made under the plan.",
    "Goodwill is not amortised but is tested for impairment at least annually, or more often if events suggest a loss.",
    "To dispute a card payment, call the number on the back of the card, or write within 60 days of the statement.",
    "SWIFT/BIC DEUTDEFF500, IBAN DE89 3704 0044 0532 0130 00",
)
_EDGES: Final = ("", ".", "7", "rate", "\N{BANK} \N{CREDIT CARD}", "aaaa " * 300, "12 " * 200, "a bank. " * 120)


def gate_texts() -> list[str]:
    """64 texts from nothing to more than 256 word pieces, always the same."""
    count = len(_SENTENCES)
    joined = [
        " ".join(_SENTENCES[(3 * i + i // count + j) % count] for j in range(1 + i % 11))
        for i in range(64 - len(_EDGES))
    ]
    return [*joined, *_EDGES]


def smallest_cosine(
    candidate: Callable[[Sequence[str]], NDArray[np.float32]], reference: Callable[[Sequence[str]], NDArray[np.float32]]
) -> float:
    """The smallest cosine between both vectors of the same text, over `gate_texts`. Both give unit vectors."""
    texts = gate_texts()
    first, second = candidate(texts).astype(np.float64), reference(texts).astype(np.float64)
    products = (first * second).sum(axis=1)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float((products / lengths).min())
