"""Bundles with compressed weights say what they hold and what it costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.cli import main
from nas.compression import compress_module
from nas.data import ClipShape, MovingShapes
from nas.export import Manifest, stored_kind
from nas.export.running.checking import check_bundle
from nas.export.running.generating import BundleModel
from nas.models import Generation, VideoModel
from nas.quality import compressed_loss
from nas.runtimes import get_runtime
from tests.export.conftest import build

Nas = Callable[..., str]


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return build(Generation(steps=2, guidance_scale=1))


@pytest.fixture
def nas(model: VideoModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Nas:
    """Export the model with more options; what is printed, or the line of the error."""
    model.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")

    def run(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", "export", "model", "--out", "bundle", *options])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        if not ended.value.code:
            return printed.out
        (line,) = printed.err.splitlines()
        return line

    return run


@pytest.mark.slow
def test_files_are_compared_with_torch_with_the_same_weights_and_these_with_fp32(nas: Nas, tmp_path: Path) -> None:
    (tmp_path / "clips.yaml").write_text("data: {kind: moving_shapes, clips: 12}", encoding="utf-8")
    printed = nas("--formats", "onnx", "--weights", "int8", "--data", "clips.yaml")
    manifest = Manifest.load(tmp_path / "bundle")
    assert [network.weights for network in manifest.networks] == ["int8"] * 3
    costs, networks = manifest.compression, {network.part: network for network in manifest.networks}
    assert costs is not None
    cost_db, parity_db = costs.psnr_db["unet"], networks["unet"].parity.psnr_db
    assert cost_db is not None
    assert parity_db is not None
    assert 30 < cost_db < parity_db - 10
    assert costs.psnr_db["decoder"] is None  # it has no weights
    assert costs.held_out is not None
    assert costs.held_out.loss == pytest.approx(costs.held_out.uncompressed_loss, rel=0.01)
    assert costs.held_out.loss != costs.held_out.uncompressed_loss
    assert f"dB, denoising network {cost_db:.1f} dB, decoder equal; held-out flow loss " in printed
    # The test vector has been made with the weights as they were trained.
    compared = check_bundle(BundleModel.open(tmp_path / "bundle", get_runtime("onnxruntime")))
    assert min(row.psnr_db for row in compared) < 80


def test_the_loss_is_that_of_the_model_with_its_weights_replaced(model: VideoModel) -> None:
    clips = MovingShapes(ClipShape(2, 8, 8, 8), clips=12, seed=0)
    found = compressed_loss(model, "palettized_4", clips, batches=1)
    twin = model.copy()
    for module in (twin.unet, twin.text_encoder):
        compress_module(module, "palettized_4")
    again = compressed_loss(twin, "palettized_4", clips, batches=1)
    assert found.loss == again.loss == again.uncompressed_loss != found.uncompressed_loss


def test_a_run_compresses_the_files_that_can_hold_its_kind() -> None:
    assert stored_kind("palettized_6", ["safetensors", "onnx"]) is None
    assert stored_kind("palettized_6", ["onnx", "coreml"]) == "palettized_6"
    assert stored_kind("int8", ["onnx"]) == "int8"
    assert stored_kind("fp16", ["coreml"]) is stored_kind(None, ["coreml"]) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--formats", "onnx", "--weights", "palettized_6"),
         "no format to export stores palettized_6 weights (those that do: coreai, coreml)"),
        (("--weights", "fp16"), "--weights: fp16 weights are not compressed; give int8"),
        (("--weights", "int4"), "no kind of weights 'int4' (known: fp32"),
        (("--data", "moving_shapes"), "--data measures what --weights cost; give both"),
    ],
)  # fmt: skip
def test_what_cannot_be_compressed_is_one_line(
    nas: Nas, options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    assert message in nas(*options)
    assert not (tmp_path / "bundle").exists()
