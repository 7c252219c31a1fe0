"""Who may see what, and what may be kept of people."""
