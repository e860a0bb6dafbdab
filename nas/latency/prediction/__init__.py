"""From a table to the latency of architectures: fits, predictions, and checks of both."""
