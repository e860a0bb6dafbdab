"""Functions as metrics, found by name as `nas search --quality` finds them."""

from __future__ import annotations

import copy
import functools
import json
import math
import sys

import numpy as np
import pytest
import torch

from nas.errors import ConfigError
from nas.models import SuperNet
from nas.quality import FunctionQuality, MeanScore, load_function
from nas.search.scores import Score, score
from nas.space import SearchSpace
from tests.tiny import TINY

SPACE = SearchSpace.from_dict(TINY)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder, which nothing remembers afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def layers(architecture):
    return sum(name != "none" for name in architecture.choices)


def test_a_function_of_the_architecture_is_a_metric():
    quality = FunctionQuality(layers, direction="maximize")

    assert [quality.score(one) for one in SPACE.enumerate()] == [layers(one) for one in SPACE.enumerate()]
    assert quality.direction == "maximize"
    assert quality.name.endswith(":layers")
    assert (
        FunctionQuality(lambda one: np.float32(0.5), direction="minimize", name="half").score(SPACE.smallest()) == 0.5
    )


def test_a_function_of_the_network_gets_the_weights_it_inherits_and_may_spoil_them():
    supernet = SuperNet(SPACE)
    architecture = SPACE.architecture(["conv1d", "self_attention_3d"])
    seen = []

    def norm(one, network):
        seen.append(sum(float(weight.detach().square().sum()) for weight in network.parameters()))
        with torch.no_grad():
            for weight in network.parameters():
                weight.zero_()
        return seen[-1]

    quality = FunctionQuality(norm, direction="minimize", supernet=supernet)

    assert quality.score(architecture) == quality.score(architecture)
    names = dict(supernet.extract(architecture).named_parameters())
    inherited = sum(float(supernet.get_parameter(name).detach().square().sum()) for name in names)
    assert seen[0] == pytest.approx(inherited)
    other = FunctionQuality(norm, direction="minimize", supernet=SuperNet(SPACE))
    assert quality.fingerprint != other.fingerprint


def test_the_direction_is_said_once():
    def scored(architecture):
        return 1.0

    scored.direction = "maximize"
    assert FunctionQuality(scored).direction == "maximize"
    assert FunctionQuality(scored, direction="maximize").direction == "maximize"
    with pytest.raises(ConfigError, match=r"says it is to maximize, the direction given is minimize"):
        FunctionQuality(scored, direction="minimize")
    with pytest.raises(ConfigError, match="it is not known whether lower or higher is better"):
        FunctionQuality(layers)
    with pytest.raises(ConfigError, match="direction 'up' is unknown"):
        FunctionQuality(layers, direction="up")


@pytest.mark.parametrize("value", [None, "0.5", [1.0], "nonsense"])
def test_what_is_no_number_is_no_score(value):
    with pytest.raises(TypeError, match="expected a number"):
        FunctionQuality(lambda one: value, direction="minimize", name="odd").score(SPACE.smallest())


def test_arguments_with_defaults_do_not_count():
    assert FunctionQuality(lambda one, seed=3: seed, direction="minimize", name="seeded").score(SPACE.smallest()) == 3
    partial = functools.partial(lambda one, offset: offset, offset=2)
    assert FunctionQuality(partial, direction="minimize", name="partial").score(SPACE.smallest()) == 2


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: 0, r"takes \(\), expected \(architecture\) or \(architecture, network\)"),
        (lambda a, b, c: 0, r"takes \(a, b, c\)"),
        (lambda one, network: 0, "takes a network, which needs a supernet"),
        (functools.partial(layers), "has no name"),
    ],
)
def test_functions_that_cannot_serve(function, words):
    with pytest.raises(ConfigError, match=words):
        FunctionQuality(function, direction="minimize")


def test_a_supernet_that_nothing_asks_for_is_refused():
    with pytest.raises(ConfigError, match="takes the architecture alone"):
        FunctionQuality(layers, direction="minimize", supernet=SuperNet(SPACE))


def test_a_module_in_the_current_folder_is_found_with_its_neighbours(folder):
    (folder / "package").mkdir()
    (folder / "package" / "metrics.py").write_text("def score(one):\n    import beside\n    return beside.VALUE\n")
    (folder / "beside.py").write_text("VALUE = 7\n")

    quality = FunctionQuality(load_function("package.metrics:score"), direction="minimize")

    assert quality.score(SPACE.smallest()) == 7


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("metrics", "expected package.module:function, got 'metrics'"),
        ("metrics:", "expected package.module:function"),
        ("metrics.py:score", "no module 'metrics.py'"),
        ("./metrics:score", "expected package.module:function"),
        ("absent:score", "no module 'absent'; looked in the current folder"),
        ("metrics.inner:score", "no module 'metrics.inner'"),
        ("metrics:other", "has no 'other'; looked in .*metrics.py"),
        ("metrics:VALUE", "metrics:VALUE is not callable, but of type int"),
        ("wanting:score", "module wanting fails to import: No module named 'not_installed'"),
        ("broken:score", "module broken fails to import: SyntaxError"),
        ("leaving:score", "module leaving fails to import: SystemExit: 3"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(folder, spec, words):
    (folder / "metrics.py").write_text("VALUE = 1\ndef score(one):\n    return 1\n")
    (folder / "wanting.py").write_text("import not_installed\n")
    (folder / "broken.py").write_text("def score(:\n")
    (folder / "leaving.py").write_text("raise SystemExit(3)\n")

    with pytest.raises(ConfigError, match=words) as caught:
        load_function(spec)
    assert str(caught.value).startswith("--quality: ")
    assert "\n" not in str(caught.value)


def test_a_mean_score_is_a_number_that_keeps_its_parts() -> None:
    whole = MeanScore([1, 2, 6])
    assert (whole, whole.parts) == (3, (1, 2, 6))
    assert json.dumps(whole) == "3.0"
    copied = copy.deepcopy(whole)  # as between processes
    assert (copied, copied.parts) == (3, (1, 2, 6))
    assert math.isnan(MeanScore([1, math.inf, -math.inf]))


def test_a_function_may_return_a_mean_score() -> None:
    quality = FunctionQuality(lambda architecture: MeanScore([1, 2]), direction="minimize", name="two parts")
    assert score(quality, SPACE.smallest()) == Score(1.5, (1, 2))
