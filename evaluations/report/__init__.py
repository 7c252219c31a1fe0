"""What a run found, for people: one HTML file that opens from disk, and the same as Markdown and JSON."""
