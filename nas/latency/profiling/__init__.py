"""Measuring the blocks of a space, and whole networks, with a runtime."""
