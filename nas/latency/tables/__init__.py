"""Latency tables on disk: rows, metadata, raw samples, merging and comparing."""
