"""Back ends that generate text, each an `Engine` of `rag/models/engine.py`."""
