"""Whether the constraints that are regular languages mean what they say."""
