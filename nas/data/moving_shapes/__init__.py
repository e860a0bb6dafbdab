"""The procedural set of captioned clips."""
