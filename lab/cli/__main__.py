"""`python -m lab.cli`: the `lab` command."""

from lab.cli import main

main()
