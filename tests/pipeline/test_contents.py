"""Files outside a run whose contents change under the same path: which stages start over."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from nas.latency import LatencyRow, LatencyTable, TableMetadata, space_blocks
from nas.pipeline import load_run
from nas.pipeline.stages import Stages
from nas.runtimes import get_runtime
from nas.space import SearchSpace
from tests.frozen import frozen_space


def contents(run_file: Path) -> dict[str, str]:
    config, space = load_run(run_file)
    base = run_file.parent
    return {stage.name: stage.contents for stage in Stages(config, space, base, base / "out").all()}


def run_file(base: Path, **changes: Any) -> Path:
    frozen_space(base)
    settings = {"space": "frozen.yaml", "out": "out", "data": {"kind": "moving_shapes", "clips": 40}}
    (base / "run.yaml").write_text(yaml.safe_dump(settings | {"train": {"steps": 2}} | changes))
    return base / "run.yaml"


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def train_on(file: Path) -> None:
    """Other weights of the same shapes in the same file."""
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})


def test_a_run_starts_over_from_an_encoder_or_a_codec_that_was_trained_on(tmp_path: Path) -> None:
    """Its network was trained for the contexts and the latents of the other one."""
    file = run_file(tmp_path)
    first = contents(file)
    assert contents(file) == first
    train_on(tmp_path / "clip" / "text_encoder" / "model.safetensors")
    second = contents(file)
    assert changed(first, second) == {"train"}
    train_on(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    assert changed(second, contents(file)) == {"train"}


def test_a_finished_run_does_not_need_its_encoder_any_more(tmp_path: Path) -> None:
    file = run_file(tmp_path, backbone={"training": {"steps": 2}})
    shutil.rmtree(tmp_path / "clip")
    shutil.rmtree(tmp_path / "vae")
    assert set(contents(file).values()) == {""}


def test_a_search_starts_over_with_another_classifier_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    weights = {"weight": torch.zeros(3)}
    save_file(weights, tmp_path / "seen" / "classifier.safetensors")
    metric = {"metric": "prompt_accuracy", "classifier": "seen"}
    file = run_file(tmp_path, quality=metric, rescore=metric | {"finetune_steps": 2})
    before = contents(file)
    train_on(tmp_path / "seen" / "classifier.safetensors")
    assert changed(before, contents(file)) == {"search", "rescore"}


def test_a_search_starts_over_with_a_fit_of_the_table_of_another_device(tmp_path: Path) -> None:
    device = get_runtime("onnxruntime").device
    budgets = {"latency_ms": {"a phone": 1e5, device: 1e6}}
    file = run_file(tmp_path, search={"tables": ["phone.csv"], "latency": "a phone", "budgets": budgets})
    space = SearchSpace.load(tmp_path / "frozen.yaml")
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=1.0, provenance="published")
        for block in space_blocks(space)
    ]
    table = LatencyTable(TableMetadata(device="a phone", runtime="coreml")).add(rows)
    table.save(tmp_path / "phone.csv")
    before = contents(file)
    (tmp_path / "phone.tiny.fit.json").write_text("{}")
    fitted = contents(file)
    assert changed(before, fitted) == {"search"}
    table.add([], call_overhead_ms=0.5).save(tmp_path / "phone.csv")
    assert changed(fitted, contents(file)) == {"search"}
