"""What we do with documents: ingest them, find passages, answer with citations. Importing this loads nothing heavy."""
