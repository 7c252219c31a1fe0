"""How good it is: the same pipeline as the service runs, measured."""

import rag  # noqa: F401 - switches usage reports off
