"""The command `ctrlg`."""
