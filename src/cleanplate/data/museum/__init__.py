"""The built-in sample set, rendered: rooms with people, exact masks and depth."""

from cleanplate.data.museum.make import make_museum

__all__ = ["make_museum"]
