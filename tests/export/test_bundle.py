"""A bundle: complete, loadable, checked, whole or not there at all."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from typer.testing import CliRunner

from nas.cli import export as export_verb
from nas.errors import CheckpointError, ConfigError, NasError, StorageError
from nas.export import FORMATS, Manifest, export_bundle
from nas.export.reference import ReferenceClip
from nas.export.writing import formats, parity
from nas.export.writing.parts import model_parts
from nas.export.writing.programs import Programs
from nas.latency import LatencyPredictor, LatencyRow, LatencyTable, TableMetadata, space_blocks
from nas.models import Generation, VideoModel
from nas.runtimes import Array, get_runtime
from nas.runtimes.environment import cpu_model
from nas.runtimes.onnx.runtime import OnnxRuntime
from tests.export.conftest import build

PARTS = ("text_encoder", "unet", "decoder")


@pytest.fixture(scope="module")
def model() -> VideoModel:
    return build(Generation(steps=4, guidance_scale=1))


@pytest.fixture(scope="module")
def exported(model: VideoModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "bundle"
    export_bundle(model, folder, FORMATS, latency={"pipeline_ms": 12.5, "provenance": "measured"})
    return folder


def test_the_bundle_loads_and_generates_what_the_model_does(model: VideoModel, exported: Path) -> None:
    loaded = VideoModel.load(exported)
    assert loaded.architecture == model.architecture
    assert loaded.generation == model.generation
    assert torch.equal(loaded.generate(["a dog"], seed=3), model.generate(["a dog"], seed=3))


def test_onnx_files_alone_make_the_clip_that_torch_makes(model: VideoModel, exported: Path) -> None:
    """The whole pipeline by hand, as an application would run it: no torch, no nas."""
    sessions = {name: onnxruntime.InferenceSession(exported / "onnx" / f"{name}.onnx") for name in PARTS}

    def call(name: str, **inputs: Array) -> Array:
        return np.asarray(sessions[name].run(["output"], inputs)[0])

    context = call("text_encoder", tokens=model.text_encoder.tokenize(["a dog"]).numpy())
    sample = model.noise(1, seed=5).numpy()
    for step in range(4):
        level = 1 - step / 4
        velocity = call("unet", sample=sample, timestep=np.array([1000 * level], np.float32), context=context)
        sample = sample - velocity / 4
    video = call("decoder", latent=sample)
    np.testing.assert_allclose(video, model.generate(["a dog"], seed=5).numpy(), atol=1e-4)


def test_onnx_files_are_valid_and_do_not_tell_where_they_were_made(exported: Path) -> None:
    for name in PARTS:
        path = exported / "onnx" / f"{name}.onnx"
        onnx.checker.check_model(path, full_check=True)
        assert b"site-packages" not in path.read_bytes()


def test_core_ml_packages_have_the_pipelines_inputs(exported: Path) -> None:
    expected = {"text_encoder": ["tokens"], "unet": ["sample", "timestep", "context"], "decoder": ["latent"]}
    for name, inputs in expected.items():
        spec = coremltools.utils.load_spec(str(exported / "coreml" / f"{name}.mlpackage"))
        assert sorted(entry.name for entry in spec.description.input) == sorted(inputs)


def test_the_manifest_says_what_is_in_the_folder(model: VideoModel, exported: Path) -> None:
    manifest = Manifest.load(exported)
    assert manifest.space == "tiny"
    assert manifest.architecture == model.architecture.id
    assert manifest.parameters["unet"] == sum(parameter.numel() for parameter in model.unet.parameters())
    assert manifest.latency == {"pipeline_ms": 12.5, "provenance": "measured"}
    files = {"onnx": ".onnx", "coreml": ".mlpackage", "coreai": ".aimodel"}
    expected = {f"{format_}/{part}{suffix}" for format_, suffix in files.items() for part in PARTS}
    assert {item.path for item in manifest.networks} == expected
    assert manifest.files.keys() == {
        file.relative_to(exported).as_posix()
        for file in exported.rglob("*")
        if file.is_file() and file.name not in {"manifest.json", ".nas-folder.json"}
    }
    for name, file in manifest.files.items():
        assert (exported / name).stat().st_size == file.size_bytes
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == file.sha256
    for item in manifest.networks:
        files = [exported / item.path, *(exported / item.path).rglob("*")]
        assert item.size_bytes == sum(file.stat().st_size for file in files if file.is_file()) > 0


def test_parity_is_measured_where_a_runtime_executes_and_never_invented(exported: Path) -> None:
    for item in Manifest.load(exported).networks:
        if item.runtime == "onnxruntime":
            assert item.parity.status == "measured"
            assert item.parity.max_abs_error is not None
            assert item.parity.max_abs_error < 1e-4
            assert item.parity.psnr_db is None or item.parity.psnr_db > 100
        elif item.runtime == "coreai":
            assert item.parity.status == "measured"
            assert item.precision == "fp16"
            assert item.parity.psnr_db is None or item.parity.psnr_db > 60
        elif item.parity.status != "measured":
            assert "macOS only" in item.parity.status
            assert (item.parity.max_abs_error, item.parity.psnr_db, item.parity.inputs) == (None, None, 0)


def test_an_interpreter_is_not_given_a_network_that_takes_it_hours(
    model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no file to call: the answer comes before anything is loaded."""
    monkeypatch.setattr(parity, "MOST_INTERPRETED_MACS", 0)
    runtime, programs = get_runtime("coreai"), Programs.whole(model_parts(model, ReferenceClip.make(model))[1])
    if runtime.unmeasurable_reason() is None:
        pytest.skip("the system executes Core AI here")
    (report,) = parity.measured_parity(programs, runtime, [tmp_path / "none.aimodel"], programs)
    assert "which would take it hours" in report.status
    assert (report.psnr_db, report.inputs) == (None, 0)
    with pytest.raises(CheckpointError, match=r"none\.onnx"):
        parity.measured_parity(programs, get_runtime("onnxruntime"), [tmp_path / "none.onnx"], programs)


def test_files_can_be_read_by_others(exported: Path) -> None:
    assert all(file.stat().st_mode & 0o044 for file in exported.rglob("*") if file.is_file())


class CarelessRuntime(OnnxRuntime):
    """A converter that gets one weight tensor of the text encoder wrong."""

    factor = 1.0

    def convert(self, module: torch.nn.Module, *arguments: Any) -> None:
        wrong = copy.deepcopy(module)
        with torch.no_grad():
            wrong.get_parameter("layers.norm.weight").mul_(self.factor)
        super().convert(wrong, *arguments)


@pytest.mark.parametrize(
    ("factor", "message"),
    [(1.01, "does not compute what torch does: PSNR"), (float("nan"), "computes NaN"), (float("inf"), "computes NaN")],
)
def test_a_conversion_that_computes_something_else_leaves_no_bundle(
    model: VideoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float, message: str
) -> None:
    monkeypatch.setattr(CarelessRuntime, "factor", factor)
    monkeypatch.setattr(formats, "get_runtime", lambda name: CarelessRuntime())
    with pytest.raises(NasError, match=rf"onnx/text_encoder\.onnx {message}"):
        export_bundle(model, tmp_path / "bundle", ["safetensors", "onnx"])
    assert not list(tmp_path.iterdir())


def test_a_bundle_is_replaced_and_nothing_else_is(model: VideoModel, tmp_path: Path) -> None:
    export_bundle(model, tmp_path / "bundle", ["safetensors"])
    (tmp_path / "bundle" / "notes.txt").write_text("mine")
    export_bundle(model, tmp_path / "bundle", ["safetensors"])
    assert (tmp_path / "bundle" / "notes.txt").read_text() == "mine"

    precious = tmp_path / "precious"
    model.save(precious)
    with pytest.raises(StorageError, match="precious: holds a model, which a bundle must not replace"):
        export_bundle(model, precious, ["safetensors"])
    assert VideoModel.load(precious).architecture == model.architecture


@pytest.mark.parametrize(("formats", "message"), [(["onnx", "tflite"], "unknown format 'tflite'"), ([], "no format")])
def test_an_unknown_format_lists_the_known_ones(
    model: VideoModel, tmp_path: Path, formats: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message + r".*\(known: safetensors, onnx, coreml, coreai\)"):
        export_bundle(model, tmp_path / "bundle", formats)
    assert not list(tmp_path.iterdir())


def test_options_reach_the_converters_that_have_them(model: VideoModel, tmp_path: Path) -> None:
    manifest = export_bundle(model, tmp_path / "bundle", ["onnx"], options={"opset": 21})
    assert {item.opset for item in manifest.networks} == {"21"}
    assert onnx.load(tmp_path / "bundle" / "onnx" / "decoder.onnx").opset_import[0].version == 21
    with pytest.raises(
        ConfigError, match=r"no format to export has an option 'precision' \(known: threads, opset, weights\)"
    ):
        export_bundle(model, tmp_path / "other", ["safetensors", "onnx"], options={"precision": "fp32"})
    assert not (tmp_path / "other").exists()


def test_the_command_refuses_an_option_that_no_format_has(model: VideoModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    app = typer.Typer()
    app.command()(export_verb.export)
    arguments = [str(tmp_path / "model"), "--out", str(tmp_path / "bundle"), "--formats", "safetensors"]
    said = CliRunner().invoke(app, [*arguments, "--deployment-target", "iOS17"]).exception
    assert isinstance(said, ConfigError)
    assert "no format to export has an option 'deployment_target'" in str(said)
    assert not (tmp_path / "bundle").exists()


def test_the_command_puts_predicted_latency_into_the_manifest(model: VideoModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=1.0 + index, provenance="published")
        for index, block in enumerate(space_blocks(model.space))
    ]
    metadata = TableMetadata(device="a phone", runtime="coreml", cpu=cpu_model())
    table = LatencyTable(metadata).add(rows).save(tmp_path / "table.csv")

    app = typer.Typer()
    app.command()(export_verb.export)
    arguments = [tmp_path / "model", "--out", tmp_path / "bundle", "--formats", "safetensors", "--table", table.where]
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    latency = json.loads(result.stdout)["latency"]
    expected = LatencyPredictor(model.space, table, steps=4).predict(model.architecture)
    assert latency["pipeline_ms"] == expected.pipeline_ms
    assert (latency["unet_calls"], latency["provenance"], latency["device"]) == (4, "published", "a phone")
    assert "unet.safetensors" in CliRunner().invoke(app, [str(item) for item in arguments]).stdout
