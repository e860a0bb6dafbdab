"""Whole training runs: a supernet, one architecture, fine-tuning, and the classifier of the metrics."""
