"""What tests share: random and tiny models, oracles by enumeration, and a device that only pretends."""
