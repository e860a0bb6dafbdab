"""Dry runs: what a training run would take, worked out without starting it."""
