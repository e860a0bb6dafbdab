"""Latencies of architectures, on one device or several."""
