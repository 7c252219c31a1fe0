"""How good it is: the same pipeline as the service runs, measured."""
