"""Runs: what was produced and how it was scored, kept so that a cut run can go on."""
