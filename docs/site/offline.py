"""Search in pages that are opened as files: its worker as text, because browsers start no worker from a file."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

SCRIPT = Path("javascripts") / "in-place-of-iframe-worker.js"
"""What zensical.toml names as a polyfill. Zensical would load one called iframe-worker from another server."""

TEMPLATE = """// A page that was opened as a file may start a worker from text, but not from another file.
if (location.protocol === "file:") {
  const source = SOURCE;
  window.Worker = class extends Worker {
    constructor(url, options) {
      super(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), options);
    }
  };
}
"""


def write_search_worker(out: Path) -> None:
    """Write the script below a folder of sources; pages load it before those of Zensical."""
    workers = files("zensical") / "templates" / "assets" / "javascripts" / "workers"
    (worker,) = (file for file in workers.iterdir() if file.name.startswith("search.") and file.name.endswith(".js"))
    (out / SCRIPT).parent.mkdir(parents=True, exist_ok=True)
    (out / SCRIPT).write_text(TEMPLATE.replace("SOURCE", json.dumps(worker.read_text())))
