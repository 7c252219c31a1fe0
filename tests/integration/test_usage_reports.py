"""Packages that report to their makers do not, however our code is started."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rag.storage.vectors import VectorIndex
from ui.launching import child_environment

ROOT = Path(__file__).parents[2]
# Libraries whose purpose is to report. literalai, openvino-telemetry and traceloop-sdk come with Chainlit and OpenVINO:
# the first needs a key, the second reports imports of OpenVINO unless it is hidden, the third is switched off below.
REPORTERS = {"posthog", "sentry-sdk", "mixpanel", "amplitude-analytics", "scarf", "segment-analytics-python"}
ASK = """
import huggingface_hub.constants
from bentoml._internal.utils.analytics.usage_stats import do_not_track
from chromadb.config import Settings
print(huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY, do_not_track(), not Settings().anonymized_telemetry)
import os
import openvino.tools.ovc
reporter = type(openvino.tools.ovc.telemetry).__module__
print(reporter == "openvino.tools.ovc.telemetry_stub", os.environ["ORT_DISABLE_TELEMETRY"] == "1")
"""


@pytest.mark.proves("ASVS 14.2.3", "GDPR 44", "ISO A.8.12")
@pytest.mark.parametrize("ours", ["rag", "bentos", "evaluations"])
def test_importing_anything_of_ours_switches_reports_off(ours: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "PYTHONPATH")}
    told = subprocess.run(
        [sys.executable, "-c", f"import {ours}\n{ASK}"], cwd=ROOT, env=kept, capture_output=True, text=True, check=True,
        timeout=120,
    ).stdout  # fmt: skip
    assert told.split() == ["True"] * 5


@pytest.mark.proves("ASVS 14.2.3")
def test_chroma_reports_nothing_even_where_the_environment_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANONYMIZED_TELEMETRY", "True")
    index = VectorIndex.embedded(tmp_path, "an encoder")
    assert index._client.get_settings().anonymized_telemetry is False


@pytest.mark.proves("ASVS 14.2.3")
def test_the_chat_reports_nothing() -> None:
    asked_for = {"LITERAL_API_KEY": "k", "TRACELOOP_API_KEY": "k", "TRACELOOP_TELEMETRY": "true", "DO_NOT_TRACK": "0"}
    child = child_environment(asked_for, Path("/data/ui"), "http://127.0.0.1:3000", {})
    assert not {"LITERAL_API_KEY", "TRACELOOP_API_KEY"} & set(child)
    switches = {name: child[name] for name in ("TRACELOOP_TELEMETRY", "OTEL_SDK_DISABLED", "DO_NOT_TRACK")}
    assert switches == {"TRACELOOP_TELEMETRY": "false", "OTEL_SDK_DISABLED": "true", "DO_NOT_TRACK": "1"}


@pytest.mark.proves("ASVS 14.2.3", "LLM03")
def test_no_package_is_installed_whose_purpose_is_to_report() -> None:
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert len(pinned) > 100
    assert sorted(pinned & REPORTERS) == []


@pytest.mark.proves("ASVS 14.2.3")
@pytest.mark.parametrize("image", ["backend", "chroma"])
def test_images_switch_the_reports_of_chroma_off(image: str) -> None:
    text = (ROOT / "configs" / "deploy" / "images" / f"{image}.Dockerfile").read_text(encoding="utf-8")
    assert "ANONYMIZED_TELEMETRY=False" in text
