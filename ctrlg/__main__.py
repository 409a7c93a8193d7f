"""`python -m ctrlg` is the command `ctrlg`."""

from ctrlg.cli import main

main()
