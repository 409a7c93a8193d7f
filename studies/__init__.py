"""Studies behind the numbers in docs/: one folder each, run as `python -m studies.NAME`."""
