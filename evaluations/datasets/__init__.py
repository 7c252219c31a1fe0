"""Data that the evaluations read, and how the data that we ship was made."""
