"""Texts to calibrate on."""
