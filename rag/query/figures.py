"""Where the figures that people ask for stand in a report.

Filings rarely say "quick ratio" or "gross margin": they show a balance sheet and a statement of income, from which a
reader computes them. Each entry pairs what analysts say with the lines and statements that definitions in any
textbook of financial analysis name. Data, in code because it is matched as patterns.
"""

from __future__ import annotations

import re
from typing import Final

_INCOME: Final = "statement of income"
_BALANCE: Final = "balance sheet"
_CASH: Final = "statement of cash flows"

_FIGURES: Final = tuple(
    (re.compile(rf"\b(?:{said})\b", re.IGNORECASE), stands)
    for said, stands in (
        (
            "(?:quick|acid[- ]test) ratio",
            f"{_BALANCE}: cash and cash equivalents, receivables, inventories, total current assets and liabilities",
        ),
        (
            "current ratio|working capital(?: ratio)?|liquidity ratio|cash ratio",
            f"{_BALANCE}: total current assets, total current liabilities, cash and cash equivalents",
        ),
        ("gross (?:profit )?margins?|gross profit", f"{_INCOME}: net sales, revenue, cost of sales, gross profit"),
        (
            "operating (?:profit )?margins?|operating (?:profit|income)|ebit",
            f"{_INCOME}: net sales, revenue, total operating expenses, operating income",
        ),
        (
            "(?:net (?:profit )?|profit )margins?|net (?:income|profit|earnings)|bottom line",
            f"{_INCOME}: revenue, net income",
        ),
        (
            "ebitda(?: margins?)?|d&a|depreciation (?:and|&) amorti[sz]ation",
            f"{_INCOME}, {_CASH}: operating income, net income, depreciation and amortization",
        ),
        (
            "cap(?:ital)?[- ]?ex(?:penditures?)?|capital[- ]intensive|capital intensity",
            f"{_CASH}: purchases of property, plant and equipment, capital expenditures; {_BALANCE}: total assets",
        ),
        ("pp&e|ppne|ppe|fixed assets?(?: turnover)?", f"{_BALANCE}: property, plant and equipment, net"),
        (
            "return on (?:total |average )?assets|roa|(?:total )?asset turnover",
            f"{_INCOME}: net income, revenue; {_BALANCE}: total assets",
        ),
        ("return on (?:common |average )?equity|roe", f"{_INCOME}: net income; {_BALANCE}: total equity"),
        ("(?:effective )?tax rate", "provision for income taxes, income before income taxes, effective tax rate"),
        (
            "inventory turnover(?: ratio)?|days (?:of )?inventory(?: outstanding)?|dio",
            f"{_INCOME}: cost of sales; {_BALANCE}: inventories",
        ),
        (
            "days payables? outstanding|dpo|payables? turnover",
            f"{_INCOME}: cost of sales; {_BALANCE}: accounts payable",
        ),
        (
            "days (?:of )?sales outstanding|dso|receivables? turnover",
            f"{_INCOME}: revenue, net sales; {_BALANCE}: accounts receivable",
        ),
        (
            "cash conversion cycle",
            f"{_INCOME}: cost of sales; {_BALANCE}: inventories, accounts receivable, accounts payable",
        ),
        (
            "(?:free|operating) cash ?flows?(?: ratio| conversion)?|fcf"
            "|cash (?:flows? )?from (?:operations|operating activities)",
            f"{_CASH}: net cash provided by operating activities, purchases of property, plant and equipment",
        ),
        (
            "dividends?(?: payout)?(?: ratio)?|payout ratio|(?:stock|share) (?:re)?purchases?|buybacks?",
            f"{_CASH}: dividends paid, repurchases of common stock",
        ),
        ("interest coverage(?: ratio)?", f"{_INCOME}: operating income, interest expense"),
        (
            "debt[- ]to[- ](?:equity|assets?|capital)|leverage ratio|(?:largest|total|biggest) liabilit(?:y|ies)",
            f"{_BALANCE}: total liabilities, short-term borrowings, long-term debt, total equity",
        ),
        ("earnings per share|eps", f"{_INCOME}: earnings per share, basic, diluted"),
        ("(?:efficiency|cost[- ]to[- ]income) ratio", f"{_INCOME}: noninterest expense, total net revenue"),
        ("net interest margin|nim", "net interest income, average interest-earning assets, net yield"),
        ("loan[- ]to[- ]deposit(?: ratio)?|ldr", f"{_BALANCE}: loans, deposits"),
        (
            "(?:cet ?1|tier 1|capital adequacy)(?: capital)? ratio",
            "regulatory capital, risk-weighted assets, capital ratios",
        ),
    )
)
_ANY: Final = re.compile("|".join(said.pattern for said, _ in _FIGURES), re.IGNORECASE)


def where_it_stands(question: str) -> str:
    """The lines and statements behind the figures that a question names; empty when it names none."""
    if not _ANY.search(question):  # most questions: one look instead of one for each figure
        return ""
    return " ".join(stands for said, stands in _FIGURES if said.search(question))
