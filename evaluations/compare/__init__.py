"""Is the new version better, and how sure is that: two runs side by side, and the decision that follows."""
