"""How it is served: HTTP in, a call into rag, HTTP out."""

import rag  # noqa: F401 - switches usage reports off, before anything of BentoML is imported
