"""Faults injected into real processes on this machine, with the behaviour that each must have: docs/chaos.md."""
