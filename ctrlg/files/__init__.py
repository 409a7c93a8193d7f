"""Files that survive crashes, two writers and strangers: atomic writes, folders, locks, records, tensors and text."""
