"""The runtime `torch`: modules as they are, or compiled."""
