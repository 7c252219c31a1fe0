"""How it is served: HTTP in, a call into rag, HTTP out."""

import os

# Before anything of BentoML is imported by whoever imports this package: it reads the variable once.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
