"""What all studies share: `study` runs one from its flags to its figure, `flags` spells what several are told."""
