"""The command line."""

from cleanplate.cli.table import app, main

__all__ = ["app", "main"]
