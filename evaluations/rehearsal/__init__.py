"""`make rehearsal`: production on this machine, from preflight to a restore."""
