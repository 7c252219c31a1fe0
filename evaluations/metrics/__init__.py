"""Figures over results: pure functions."""
