"""The Assistant with its Generator, for a checkout in which one model more is pinned: that in `TINY_MANIFESTS`."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

patch("rag.models.manifest._FOLDER", Path(os.environ["TINY_MANIFESTS"])).start()  # in every process of the service

from bentos.assistant import Assistant  # noqa: E402 - after the pin

__all__ = ["Assistant"]
