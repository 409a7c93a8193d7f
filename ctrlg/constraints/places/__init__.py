"""Where in a text something stands: words at places, and sides of a separator."""
