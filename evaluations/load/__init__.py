"""Many people at once against a running service, what they got, and how many nodes a given traffic needs."""
