"""nginx in front of API and UI: its configuration made from the settings, checked, and put in place while it runs."""
