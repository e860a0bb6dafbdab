"""A study opens in optuna-dashboard as it is."""

from __future__ import annotations

import json
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from nas.search import SearchConfig, run_search
from tests.search.formulas import FormulaLatency, PlainSpace
from tests.search.worker_process import Announced

dashboard = pytest.importorskip("optuna_dashboard")


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        """Nothing: the log is nobody's."""


@pytest.fixture
def get(tmp_path):
    space = PlainSpace()
    config = SearchConfig(evaluations=7, sampler="random")
    run_search(space, FormulaLatency(space), Announced(0), config, tmp_path / "study.db", "first")
    app = dashboard.wsgi(f"sqlite:///{tmp_path}/study.db")
    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def read(path):
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/api/{path}", timeout=30) as answer:
                return json.load(answer)

        yield read
        server.shutdown()


def test_the_dashboard_shows_a_study(get):
    (summary,) = get("studies")["study_summaries"]
    study = get(f"studies/{summary['study_id']}")

    assert summary["study_name"] == "first"
    assert study["directions"] == ["minimize", "minimize"]
    assert study["objective_names"] == ["formula loss", "latency_ms"]
    complete = [trial for trial in study["trials"] if trial["state"] == "Complete"]
    first = [trial for trial in complete if "duplicate_of" not in {attr["key"] for attr in trial["user_attrs"]}]
    assert len(first) == 7
    assert {slot["name"] for slot in first[0]["params"]} == {"down.0/0", "down.1/0", "mid/0"}
