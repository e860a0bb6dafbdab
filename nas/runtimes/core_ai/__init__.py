"""The runtime `coreai`: Core AI assets, executed by its reference interpreter."""
