"""cleanplate: foreground mask and depth from a frame and its clean plate."""

__version__ = "0.1.0"
