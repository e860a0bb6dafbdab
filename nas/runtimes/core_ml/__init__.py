"""The runtime `coreml`: Core ML programs, executed on Apple machines only."""
