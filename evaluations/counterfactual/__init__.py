"""What must happen when the index is not as it was: documents removed, poisoned, superseded, copied, locked away."""
