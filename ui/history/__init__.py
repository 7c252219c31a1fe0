"""Conversations of their owner: the database, and what Chainlit reads and writes in it."""
