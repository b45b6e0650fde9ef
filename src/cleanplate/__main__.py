"""`python -m cleanplate`: the command line."""

from cleanplate.cli import main

main()
