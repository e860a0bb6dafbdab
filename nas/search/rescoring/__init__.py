"""The second scoring of a front, with a more expensive metric."""
