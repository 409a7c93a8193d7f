"""JSON that a schema describes, as a regular language."""

from ctrlg.constraints.json_schema.constraint import Json

__all__ = ["Json"]
