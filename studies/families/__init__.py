"""Constraints of ten families, of many keywords, and how far a guide in parts is from the exact one."""
