"""The noise of scores: what it is, and where more batches of held-out data are worth their time."""
