"""Texts under one mask or another, with and without look-ahead to the end of the budget."""
