"""Which encoder made a vector. Imports no model, so that whoever only compares pays for none."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from rag.models.onnx_file import MAX_LENGTH
from rag.models.weights import PINNED_DIGESTS

# Vectors of one class may be mixed in one index: each is within cosine 0.9999 of sentence-transformers in fp32.
NUMERIC_CLASS: Final = "fp32"


def fingerprint() -> str:
    """What an index stores to say which encoder made its vectors: 32 hexadecimal digits.

    A digest of the weights, the tokeniser, pooling, normalisation, the longest text and the numeric class. Runtimes
    that pass the equality gate are of one class, so a bulk-made index serves every query back end. Encoders that round
    further (int8: cosine 0.988 to 0.999) would be another class, and another fingerprint.
    """
    identity = {
        "files": PINNED_DIGESTS,
        "pooling": "mean",
        "normalisation": "l2",
        "max_length": MAX_LENGTH,
        "numeric": NUMERIC_CLASS,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
