"""From a list of sources to a searchable corpus; the story is in pipeline.py."""
