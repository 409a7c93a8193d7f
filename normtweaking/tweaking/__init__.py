"""Algorithm 1: quantise layer by layer, repair by the norms."""
