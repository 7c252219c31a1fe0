"""Where documents come from: source systems and parsers. A leaf package: no LlamaIndex, no torch, nothing of ours."""
