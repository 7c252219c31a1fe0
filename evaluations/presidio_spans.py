"""What Presidio finds in texts: run by the Python of an environment that has it, for `governance_benchmark`.

    pip install presidio-analyzer      # in an environment of its own; no model is needed
    PYTHON evaluations/presidio_spans.py < texts.jsonl

Reads one JSON string a line, and prints for each a line with its spans: type, start, end. The last line has `seconds`
of processor time. Recognisers work by pattern only: the language model is an empty one.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

TYPES = ["CREDIT_CARD", "EMAIL_ADDRESS", "IBAN_CODE", "IP_ADDRESS", "PHONE_NUMBER", "US_SSN"]


def _analyzer() -> Any:
    import spacy  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from presidio_analyzer import AnalyzerEngine  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
    from presidio_analyzer.nlp_engine import SpacyNlpEngine  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    engine = SpacyNlpEngine()
    engine.nlp = {"en": spacy.blank("en")}
    return AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])


def main() -> None:
    """Read texts, print spans."""
    analyzer = _analyzer()
    began = time.process_time()
    for line in sys.stdin:
        found = analyzer.analyze(json.loads(line), language="en", entities=TYPES)
        spans = [{"type": each.entity_type, "start": each.start, "end": each.end} for each in found]
        sys.stdout.write(json.dumps(spans) + "\n")
    sys.stdout.write(json.dumps({"seconds": time.process_time() - began}) + "\n")


if __name__ == "__main__":
    main()
