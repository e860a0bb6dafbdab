"""Timing calls against each other on a machine that changes its speed."""
