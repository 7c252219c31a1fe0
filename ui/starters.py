"""Questions that the sample bank answers well, shown to whoever does not know yet what to ask."""

from __future__ import annotations

STARTERS = (
    "What are the error-resolution deadlines for an unauthorised electronic transfer?",
    "How much can a consumer lose when a debit card is stolen?",
    "How soon must a creditor tell an applicant about its decision?",
    "When must a servicer send the annual escrow account statement?",
    "What were Apple's total net sales in the quarter ended April 1, 2023?",
    "What does NVIDIA say about export controls and China?",
)
