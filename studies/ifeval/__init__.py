"""IFEval's instructions as constraints."""
