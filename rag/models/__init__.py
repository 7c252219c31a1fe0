"""Encoders and engines behind the abstract types of LlamaIndex, and where their weights come from."""
