"""From a question to a cited answer or a refusal; the story is in pipeline.py."""
