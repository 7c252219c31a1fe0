"""What we do with documents: ingest them, find passages, answer with citations. Importing this loads nothing heavy."""

import os
import sys

# Usage reports of others, off before any of them is imported: they read these once. Whoever sets one means it.
for _name, _value in (
    ("ANONYMIZED_TELEMETRY", "False"),  # Chroma
    ("BENTOML_DO_NOT_TRACK", "True"),
    ("DO_NOT_TRACK", "1"),  # Gradio, Scarf and whoever else honours it
    ("HF_HUB_DISABLE_TELEMETRY", "1"),  # huggingface_hub and transformers
    ("ORT_DISABLE_TELEMETRY", "1"),  # ONNX Runtime since 1.29, on Linux too
):
    os.environ.setdefault(_name, _value)
# OpenVINO reports each import and has no such variable. Without this module it reports nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
