"""Where things are kept: the SQL registry, the vectors, the lexical index."""
