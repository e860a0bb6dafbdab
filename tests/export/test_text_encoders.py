"""Text encoders of transformers on the phone: converted, executed and estimated; and their bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nas.export import BundleModel, check_bundle, export_bundle
from nas.latency import Estimator, get_phone
from nas.models import Generation, VideoModel, build_module
from nas.runtimes import get_runtime
from nas.runtimes.core_ml.program import read_program
from nas.space import Block, SearchSpace
from tests.export.conftest import SPACE
from tests.frozen import SENTENCE_ENCODERS, save_sentence_encoder

TOKENS = torch.tensor([[2, 5, 7, 9, 3, 0, 0, 0]])


def _space(**text: Any) -> SearchSpace:
    return SearchSpace.from_dict(SPACE | {"text": {"kind": "transformers", "tokens": 8, "width": 16, **text}})


def _block(kind: str) -> Block:
    space = _space(layout={"model_type": kind, **SENTENCE_ENCODERS[kind]})
    (block,) = space.lower_pipeline(space.smallest()).text_encoder.blocks
    return block


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bert", "t5"])
def test_it_becomes_a_program_of_each_runtime_and_computes_the_same(tmp_path: Path, kind: str) -> None:
    module = build_module(_block(kind))
    with torch.no_grad():
        expected = module(TOKENS).numpy()
    for name in ("onnxruntime", "coreai"):
        runtime = get_runtime(name, **({} if name == "onnxruntime" else {"precision": "fp32"}))
        path = tmp_path / f"text{runtime.suffix}"
        runtime.convert(module, (TOKENS,), ("tokens",), path)
        made = runtime.load(path).run([TOKENS.numpy()])
        np.testing.assert_allclose(made, expected, atol=1e-4)
    package = tmp_path / "text.mlpackage"
    get_runtime("coreml").convert(module, (TOKENS,), ("tokens",), package)
    assert read_program(package).highest_rank <= 5


@pytest.mark.slow
def test_its_bundle_makes_the_clip_that_torch_makes(tmp_path: Path) -> None:
    save_sentence_encoder(tmp_path / "bert")
    space = _space(path=str(tmp_path / "bert"))
    model = VideoModel.build(space, space.smallest(), Generation(steps=1, guidance_scale=2))
    model.unet.eval()
    export_bundle(model, tmp_path / "bundle", ["onnx"], prompt="a red ball")
    bundle = BundleModel.open(tmp_path / "bundle", get_runtime("onnxruntime"))
    assert next(iter(check_bundle(bundle))).name == "context"
    made = bundle.make(bundle.tokenize("a green box"), model.noise(1, seed=7).numpy())
    np.testing.assert_allclose(made.frames_BTCHW, model.generate(["a green box"], seed=7).numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", SENTENCE_ENCODERS)
def test_its_latency_is_estimated_from_a_layout_alone(kind: str) -> None:
    assert 0 < Estimator(get_phone("iphone-16-pro-max"), "cpu_and_ne").block_ms(_block(kind)) < 10
