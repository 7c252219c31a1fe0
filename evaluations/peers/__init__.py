"""The plain way of doing what BankSight does, so that every figure has something beside it.

Each module is the recipe that a reader finds in the documentation of LlamaIndex, not a weakened one: the same model,
the same chunk size, the same store, default settings. Each runs in a process of its own.
"""
