"""The routes of the HTTP API, one file per noun. A route parses, calls `rag` and answers; it decides nothing."""
