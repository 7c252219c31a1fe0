"""Questions that the sample bank answers well, shown to whoever does not know yet what to ask."""

from __future__ import annotations

STARTERS = (
    "What are the error-resolution deadlines for an unauthorised electronic transfer?",
    "How much can a consumer be held liable for after a debit card is lost or stolen?",
    "Within how many days must a creditor notify an applicant of action taken?",
    "When must a servicer send the annual escrow account statement?",
    "What was NVIDIA's Data Center revenue in the quarter ended July 30, 2023?",
    "What did Amazon report for AWS net sales in the second quarter of 2023?",
)
