"""The training engine: one loop for every task, checkpoints, parallelism, metrics and callbacks."""
