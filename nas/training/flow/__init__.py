"""The flow-matching objective: tasks, batches, the paths of a supernet, and random numbers of clips."""
