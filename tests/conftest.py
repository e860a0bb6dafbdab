"""Settings every test runs under: no display, no network for model hubs, one thread per worker."""

from __future__ import annotations

import os

from hypothesis import settings

# Set before the first heavy import, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
os.environ["HF_HUB_OFFLINE"] = "1"

# A busy machine is no reason for a property to fail, and a failure must come back on the next run.
settings.register_profile("nas", deadline=None, derandomize=True)
settings.load_profile("nas")
