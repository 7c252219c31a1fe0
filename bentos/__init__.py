"""How it is served: HTTP in, a call into rag, HTTP out."""
