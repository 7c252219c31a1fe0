"""New items from what happened in production and from documents, for a person to accept."""
