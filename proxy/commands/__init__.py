"""The commands that are more than a line: each has a ``run``."""
