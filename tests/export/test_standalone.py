"""A bundle needs nothing but itself: its manifest, its test vector, and programs that run what lies in it."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from typer.main import get_command

from nas.cli import app, main
from nas.errors import CheckpointError, NasError
from nas.export import BundleModel, Manifest, check_bundle, export_bundle, json_schema
from nas.files import write_json
from nas.models import VideoModel
from nas.runtimes import compare, get_runtime

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "run_bundle.py"


@pytest.fixture
def copied(onnx_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to spoil."""
    return Path(shutil.copytree(onnx_bundle, tmp_path / "bundle"))


def opened(bundle: Path) -> BundleModel:
    return BundleModel.open(bundle, get_runtime("onnxruntime"))


# What is written down


def test_the_schema_in_the_documents_is_the_formats() -> None:
    stored = json.loads((ROOT / "docs" / "bundle.schema.json").read_text())
    assert stored == json_schema(), "run `nas bundle schema --out docs/bundle.schema.json`"


def test_the_schema_names_every_key_of_a_manifest(onnx_bundle: Path) -> None:
    schema, value = json_schema(), json.loads((onnx_bundle / "manifest.json").read_text())
    assert value.keys() == schema["properties"].keys()
    network = schema["$defs"]["Network"]
    assert value["networks"][0].keys() == network["properties"].keys()
    assert network["additionalProperties"] is False


def test_signatures_are_those_of_the_files(onnx_bundle: Path) -> None:
    import onnxruntime

    kinds = {"tensor(float)": "float32", "tensor(int64)": "int64"}
    for network in Manifest.load(onnx_bundle).networks:
        session = onnxruntime.InferenceSession(onnx_bundle / network.path)
        for said, found in ((network.inputs, session.get_inputs()), (network.outputs, session.get_outputs())):
            assert [(item.name, list(item.shape), item.dtype) for item in said] == [
                (item.name, item.shape, kinds[item.type]) for item in found
            ]


def test_the_sampler_is_the_models_in_numbers(guided: VideoModel, onnx_bundle: Path) -> None:
    """The path of rectified flow, shifted as in Esser et al. 2024, eq. 23, in closed form."""
    sampler = Manifest.load(onnx_bundle).sampler
    levels = [3 * level / (1 + 2 * level) for level in (1, 2 / 3, 1 / 3)]
    assert [step.timestep for step in sampler.steps] == pytest.approx([1000 * level for level in levels])
    after = [*levels[1:], 0]
    assert [step.velocity_factor for step in sampler.steps] == pytest.approx(
        [end - start for start, end in zip(levels, after, strict=True)]
    )
    assert sampler.guidance_scale == guided.generation.guidance_scale


def test_the_test_vector_holds_torchs_clip(guided: VideoModel, onnx_bundle: Path) -> None:
    manifest = Manifest.load(onnx_bundle)
    assert manifest.test_vector is not None
    tensors = safetensors.numpy.load_file(onnx_bundle / manifest.test_vector.path)
    expected = guided.generate(["a red dog"], seed=manifest.test_vector.seed)
    np.testing.assert_array_equal(tensors["frames"], expected.numpy())
    np.testing.assert_array_equal(tensors["noise"], guided.noise(1, manifest.test_vector.seed).numpy())
    assert len(tensors["latents"]) == 3
    assert {item.name: item.shape for item in manifest.test_vector.tensors} == {
        name: tensor.shape for name, tensor in tensors.items()
    }


def test_a_prompt_of_the_test_vector_that_is_too_long(guided: VideoModel, tmp_path: Path) -> None:
    with pytest.raises(NasError, match=r"prompt: the prompt has 9 words or tokens, the text encoder reads 7"):
        export_bundle(
            guided, tmp_path / "bundle", ["safetensors"], prompt="one two three four five six seven eight nine"
        )
    assert not list(tmp_path.iterdir())


# What is executed


def test_a_bundle_makes_the_clip_that_torch_makes(guided: VideoModel, onnx_bundle: Path) -> None:
    model = opened(onnx_bundle)
    made = model.make(model.tokenize("a blue cat"), guided.noise(1, seed=7).numpy())
    np.testing.assert_allclose(made.frames_BTCHW, guided.generate(["a blue cat"], seed=7).numpy(), atol=1e-4)
    assert {name: len(part.times_ms) for name, part in model.parts.items()} == {
        "text_encoder": 2, "unet": 6, "decoder": 1,
    }  # fmt: skip


def test_a_check_compares_every_step_with_torch(onnx_bundle: Path) -> None:
    compared = check_bundle(opened(onnx_bundle))
    assert [row.name for row in compared] == [
        "context", "latent after step 1", "latent after step 2", "latent after step 3", "frames",
        "frames, from the noise on",
    ]  # fmt: skip
    assert all(row.psnr_db > 100 for row in compared)


def test_an_interpreter_is_announced_with_the_size_of_its_work(
    onnx_bundle: Path, guided: VideoModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened(onnx_bundle)
    assert not caplog.messages
    runtime = get_runtime("onnxruntime")
    monkeypatch.setattr(type(runtime), "unmeasurable_reason", lambda _: "an interpreter stands in")
    BundleModel.open(onnx_bundle, runtime)
    (said,) = caplog.messages
    assert "an interpreter stands in; a clip takes 6 calls of the denoising network" in said  # 3 guided steps
    weights = sum(
        each.numel() for part in (guided.text_encoder, guided.unet) for each in part.parameters()
    )  # the codec has none
    assert f"has {weights:,} weights" in said


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("coreai_torch") is None, reason="coreai-torch is not installed")
def test_core_ai_and_onnx_runtime_make_the_same_clip(guided: VideoModel, onnx_bundle: Path, tmp_path: Path) -> None:
    export_bundle(guided, tmp_path / "bundle", ["coreai"], options={"precision": "fp32"}, prompt="a red dog")
    one, other = opened(onnx_bundle), BundleModel.open(tmp_path / "bundle", get_runtime("coreai"))
    noise_BTCHW = guided.noise(1, seed=7).numpy()
    made = [model.make(model.tokenize("a blue cat"), noise_BTCHW) for model in (one, other)]
    assert compare(made[1].frames_BTCHW, made[0].frames_BTCHW).psnr_db > 100


@pytest.mark.parametrize(("tensor", "named"), [("context", "context"), ("latents", "step 1"), ("frames", "frames")])
def test_a_check_finds_what_is_not_torchs(copied: Path, tensor: str, named: str) -> None:
    model = opened(copied)
    file = copied / "test_vector.safetensors"
    tensors = dict(safetensors.numpy.load_file(file))
    tensors[tensor] = tensors[tensor] * np.float32(1.01)
    safetensors.numpy.save_file(tensors, file)
    assert model.manifest.test_vector is not None
    file_now = model.manifest.files["test_vector.safetensors"].model_copy(update=_facts(file))
    files = model.manifest.files | {"test_vector.safetensors": file_now}
    model.manifest = model.manifest.model_copy(update={"files": files})
    with pytest.raises(NasError, match=rf"{named}.* has \d\d\.\d dB against torch, expected at least \d+(\.\d+)? dB"):
        check_bundle(model)


def _facts(file: Path) -> dict[str, object]:
    import hashlib

    return {"size_bytes": file.stat().st_size, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


# What is damaged


def _drop(bundle: Path) -> None:
    (bundle / "onnx" / "unet.onnx").unlink()


def _alter(bundle: Path) -> None:
    file = bundle / "onnx" / "decoder.onnx"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def _rename(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    value["networks"][0]["path"] = "../elsewhere.onnx"
    write_json(bundle / "manifest.json", value)


def _misname(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    value["networks"][1]["inputs"][0]["name"] = "pixels"
    write_json(bundle / "manifest.json", value)


def _resize(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    value["latent"]["shape"][1] += 1
    write_json(bundle / "manifest.json", value)


def _lose(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    write_json(bundle / "manifest.json", value | {"networks": value["networks"][:2]})


def _later(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    write_json(bundle / "manifest.json", value | {"schema_version": 2, "something": "new"})


def _unknown(bundle: Path) -> None:
    value = json.loads((bundle / "manifest.json").read_text())
    write_json(bundle / "manifest.json", value | {"something": "new"})


def _old(bundle: Path) -> None:
    (bundle / "manifest.json").rename(bundle / "report.json")


def _gone(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (_drop, "unet.onnx: is missing from the bundle; copy the bundle again"),
    (_alter, "decoder.onnx: is not the file that was exported: its digest differs; copy the bundle again"),
    (_rename, "its manifest does not list ../elsewhere.onnx"),
    (_misname, "manifest.json: onnx/unet.onnx reads pixels of (1, 2, 12, 4, 4), which nothing before it writes"),
    (_resize, "manifest.json: onnx/unet.onnx reads sample of (1, 2, 12, 4, 4), which nothing before it writes"),
    (_lose, "manifest.json: no network of the decoder has an output"),
    (_later, "manifest.json: is a manifest of version 2, this nas reads 1; export the model again"),
    (_unknown, "manifest.json: unknown key something"),
    (_old, "was exported before bundles had a manifest.json; export the model again"),
    (_gone, "not a bundle: manifest.json is missing; `nas export` makes bundles"),
]


Nas = Callable[..., str]


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """A command line that ends well, or with one line and exit code 2; what it printed."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        if not code:
            return said.out
        assert code == 2, said.err
        (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
        return line

    return run


def _generate(bundle: Path, *more: object, prompt: str = "a red dog") -> tuple[object, ...]:
    return (
        "generate",
        bundle,
        "--prompt",
        prompt,
        "--out",
        bundle.parent / "clip.mp4",
        "--runtime",
        "onnxruntime",
        *more,
    )


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=lambda value: getattr(value, "__name__", "message"))
def test_a_damaged_bundle_is_one_line(nas: Nas, copied: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(copied)
    assert message in nas(*_generate(copied))
    assert not (copied.parent / "clip.mp4").exists()


def test_bad_input_is_one_line(nas: Nas, copied: Path) -> None:
    assert "no networks for the runtime torch (it has: onnxruntime)" in nas(*_generate(copied, "--runtime", "torch"))
    assert "unknown runtime 'onyx'" in nas(*_generate(copied, "--runtime", "onyx"))
    words = "one two three four five six seven eight nine"
    assert "prompt: the prompt has 9 words, the text encoder reads 7; make it shorter" in nas(
        *_generate(copied, prompt=words)
    )
    assert "--steps: has no effect with --runtime" in nas(*_generate(copied, "--steps", 2))
    assert "--guidance-scale: has no effect with --runtime" in nas(*_generate(copied, "--guidance-scale", 2))
    plain = ("generate", copied, "--prompt", "a", "--out", copied.parent / "clip.mp4")
    assert "--check: needs --runtime" in nas(*plain, "--check")
    assert "--runtime-option: needs --runtime" in nas(*plain, "--runtime-option", "threads=1")
    assert [path.name for path in copied.parent.iterdir()] == ["bundle"]


def test_a_bundle_without_a_test_vector_cannot_be_checked(copied: Path) -> None:
    value = json.loads((copied / "manifest.json").read_text())
    write_json(copied / "manifest.json", value | {"test_vector": None})
    with pytest.raises(CheckpointError, match="the bundle has no test vector; export the model again"):
        check_bundle(opened(copied))


# Commands and the example


def test_the_command_prints_milliseconds_beside_predictions(nas: Nas, copied: Path) -> None:
    said = nas(*_generate(copied, "--check"))
    assert "against the test vector" in said
    rows = {line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:5]] for line in said.splitlines()
            if line.count("│") == 5}  # fmt: skip
    assert {name: (row[0], row[2]) for name, row in rows.items()} == {
        "text encoder": ("2", "0.25"), "denoising network": ("6", "1.5"), "decoder": ("1", "0.125"),
        "clip": ("-", "9.375"),
    }  # fmt: skip
    assert all(float(row[1]) > 0 for row in rows.values())
    assert "predicted for a machine with onnxruntime, from measured latencies of blocks and 6 calls" in said
    assert (copied.parent / "clip.mp4").stat().st_size > 500
    assert (copied.parent / "clip.gif").stat().st_size > 100


def test_a_bundle_can_be_shown(nas: Nas, copied: Path) -> None:
    assert json.loads(nas("bundle", "show", copied, "--json"))["space"] == "tiny"
    assert "all as exported" in nas("bundle", "show", copied)
    _alter(copied)
    assert "its digest differs" in nas("bundle", "show", copied)


def test_the_schema_is_written_and_printed(nas: Nas, tmp_path: Path) -> None:
    nas("bundle", "schema", "--out", tmp_path / "schema.json")
    assert json.loads((tmp_path / "schema.json").read_text()) == json.loads(nas("bundle", "schema"))


@pytest.fixture(scope="module")
def few_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages that the example asks for, and no others."""
    import onnxruntime
    import PIL

    folder = tmp_path_factory.mktemp("packages")
    for package in (np, onnxruntime, PIL):
        assert package.__file__ is not None
        place = Path(package.__file__).parent
        (folder / place.name).symlink_to(place)
    # Libraries that wheels bring are in a folder beside the package.
    for libraries in ("numpy.libs", "pillow.libs"):
        if (Path(np.__file__).parents[1] / libraries).is_dir():
            (folder / libraries).symlink_to(Path(np.__file__).parents[1] / libraries)
    return folder


ALONE = """
import importlib.util, runpy, sys
assert not [name for name in ("torch", "nas", "onnx", "safetensors", "diffusers") if importlib.util.find_spec(name)]
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_the_example_makes_torchs_clip_without_torch(
    guided: VideoModel, onnx_bundle: Path, few_packages: Path, tmp_path: Path
) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 160
    environment = {"PYTHONPATH": str(few_packages), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-S", "-c", ALONE, str(EXAMPLE), str(onnx_bundle), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    printed = run("--out", "clip.gif")
    assert (tmp_path / "clip.gif").read_bytes().startswith(b"GIF89a")
    assert printed.count("dB") == 4
    assert all(float(line.split()[-2]) > 100 for line in printed.splitlines() if "dB" in line)

    run("--prompt", "a blue cat", "--out", "clip.npy")  # from the noise of the test vector
    with torch.no_grad():
        expected = guided.generate(["a blue cat"], seed=0).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "clip.npy"), expected, atol=1e-4)


def test_the_commands_of_the_page_are_commands(
    nas: Nas, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export itself, which converts to three formats, is only parsed."""
    page = (ROOT / "docs" / "app.md").read_text().replace("\\\n", "")
    lines = [shlex.split(line) for line in page.splitlines() if line.startswith(("    nas ", "    python "))]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    copied.rename(tmp_path / "runs" / "app")
    for program, *arguments in lines:
        if program == "python":
            assert (ROOT / arguments[0]).is_file()
        elif arguments[0] == "export":
            commands: dict[str, Any] = getattr(get_command(app), "commands", {})
            commands["export"].make_context("export", arguments[1:])
        else:
            assert not nas(*arguments).startswith("error")
    assert [line[1] for line in lines] == ["export", "bundle", "generate", "examples/run_bundle.py"]
    assert (tmp_path / "runs" / "clip.mp4").is_file()
