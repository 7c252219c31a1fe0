"""Suites: what is asked, of what, how it is scored and what must be reached. One YAML file each."""
