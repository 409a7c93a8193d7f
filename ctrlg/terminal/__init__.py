"""How programs of this project behave on a terminal."""
