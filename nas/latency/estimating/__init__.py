"""Estimated latencies: a roofline over each block's operations, calibrated on published latencies."""
