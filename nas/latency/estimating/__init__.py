"""Latencies without a device: a roofline over each block's operations, calibrated on what others published."""
