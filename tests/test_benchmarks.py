"""Benchmarks run as their first lines say, on a small scale; their figures are not judged here."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import itertools
import json
import runpy
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import typer
import yaml
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from torch import nn
from typer.testing import CliRunner

from benchmarks import checkpoint_stall, conversion, conversion_calls, conversion_tasks, layer_costs
from benchmarks.conversion_calls import GOAL_DB
from benchmarks.large_space import LargeProblem
from nas.latency import MeasurementSettings, profile
from nas.quality import FunctionQuality, MeanScore
from nas.runtimes import block_convertible, compare, get_runtime, to_arrays
from nas.runtimes.core_ai.narrowing import in_half
from nas.runtimes.networks import Convertible
from nas.search import SearchConfig, TableLatency, run_search
from nas.space import Architecture, SearchSpace, layer_kinds
from tests.latency.conftest import SMALL
from tests.processes import run_script
from tests.tiny import ONE_LEVEL, TINY

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def report_of(folder: Path, benchmark: str, *arguments: object) -> Any:
    """What a benchmark prints with `--json`."""
    done = run_script(folder, BENCHMARKS / benchmark, *arguments, "--json")
    assert done.code == 0, done.err[-2000:]
    return json.loads(done.out)


@pytest.mark.slow
def test_latency_accuracy_compares_every_method_on_the_same_networks(tmp_path: Path) -> None:
    slots = [{"stage": stage, "candidates": ["none", "conv1d", "conv3d"]} for stage in ("down.0", "mid")]
    space = tmp_path / "tiny.yaml"
    space.write_text(yaml.safe_dump(TINY | {"backbone": ONE_LEVEL, "slots": slots}), encoding="utf-8")
    options = {
        "space": space, "runtime": "torch", "networks": 4, "fitted": 3, "max-seconds": 0.01, "min-seconds": 0,
        "fit-max-seconds": 0.01, "fit-min-seconds": 0, "predicted": 1000,
        "units": "cells,differences,chains", "figures": tmp_path / "figures",
    }  # fmt: skip
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    report = report_of(tmp_path, "latency_accuracy.py", *arguments)
    assert {"sum of blocks", "MACs regression", "parameters regression", "predictor"} <= report["methods"].keys()
    assert {"cells, scale", "differences, scale", "chains, scale"} <= report["methods"].keys()
    assert len(report["checks"]) == report["networks"] == 4
    errors = [abs(check["error_percent"]) for check in report["checks"]]
    assert report["methods"]["predictor"]["mape"] == pytest.approx(sum(errors) / 400)
    pairs = [check["measurements_ms"] for check in report["checks"]]
    assert report["noise_floor"]["mape"] == pytest.approx(sum(abs(one / two - 1) for one, two in pairs) / 4)
    assert len(list((tmp_path / "figures").iterdir())) == 3


def test_processes_that_help_latency_accuracy_convert_find_what_they_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    helper = runpy.run_path(str(BENCHMARKS / "latency_accuracy.py"))["CONVERT"]
    imports = [node for node in ast.walk(ast.parse(helper)) if isinstance(node, ast.ImportFrom)]
    names = [(importlib.import_module(str(node.module)), alias.name) for node in imports for alias in node.names]
    assert names
    assert [name for module, name in names if not hasattr(module, name)] == []


@pytest.mark.slow
def test_conversion_reads_and_calls_every_block_in_every_implementation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slots = [{"stage": "down.0", "candidates": ["none", "conv1d", "self_attention_1d"]}]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SMALL | {"slots": slots}), encoding="utf-8")
    # The process that calls is a fork of one that has imported what it needs.
    monkeypatch.setattr(conversion_calls.multiprocessing, "get_context", lambda _: get_context("forkserver"))
    app = typer.Typer()
    app.command()(conversion.main)
    arguments = ["--space", str(tmp_path / "tiny.yaml"), "--targets", "iOS18,iOS27", "--precisions", "fp16", "--json"]
    report = json.loads(CliRunner().invoke(app, arguments, catch_exceptions=False).stdout)
    rows = [row for row in report["blocks"] if row["system"] == "iOS18"]
    found = {row["key"].partition("[")[0]: row for row in rows}
    facts, called = report["summary"].values()
    assert facts["blocks"] == facts["converted"] == len(rows) - 1
    assert facts["networks"].keys() == called["networks"].keys() == {"network of tiny"}
    assert called["executed"] == called["on_full_frames"] == len(rows)
    assert called["lowest_db"] > 60
    assert called["networks"]["network of tiny"]["db"] > 60
    assert facts["highest_rank"] == 5
    assert facts["above_rank_5"] == []
    assert {"text_learned", "resnet", "decode_space_to_depth", "network"} < {row["kind"] for row in rows}
    assert found["conv1d(form=conv3d,kernel_size=3)"]["groups"]["conv"] == 1
    assert found["self_attention_1d(heads=4)"]["groups"]["attention"] == 1
    split = found["self_attention_1d(form=split_heads,heads=4)"]
    assert (split["groups"]["matmul"], split["groups"]["softmax"], split["groups"]["attention"]) == (8, 4, 0)
    assert sum(split["operations"].values()) == sum(split["groups"].values())
    timestep, network = (row for row in rows if row["fp32_operations"])
    assert (timestep["kind"], network["kind"]) == ("time_embedding", "network")
    assert facts["with_fp32"] == [timestep["key"], network["key"]]
    assert facts["size_bytes"] == sum(row["size_bytes"] for row in rows)


HAS_TIMM = importlib.util.find_spec("timm") or (Path(sys.prefix) / "bench" / "timm").is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TIMM, reason="timm (extra `bench`) is not installed")
def test_coreml_estimate_rebuilds_published_networks_and_tests_on_what_it_has_not_seen(tmp_path: Path) -> None:
    header = "source,licence,device,os,compute_unit,model,variant,latency_ms,std_ms,set_aside\n"
    measured = (
        header + "a,b,iPhone 12,iOS16,all,FastViT-T8,fp16,0.8,\n"
        "a,b,iPhone 12,iOS16,all(ModelBench),MobileOne-S1,fp16,0.89,\n"
        "a,b,iPhone 12,iOS16,CPU_AND_NE,RepViT-M0.9,fp16,0.9,0.05\n"
        "a,b,Pixel 9,16,all,RepViT-M1.0,fp16,1.0,\n"
        "a,b,iPhone 12,iOS16,all,Nobody-L5,fp16,1.0,\n"
        "a,b,iPhone 12,iOS16,all,FastViT-T8,fp16,9,,measured on a hot phone\n"
    )
    (tmp_path / "measured.csv").write_text(measured, encoding="utf-8")
    (tmp_path / "holdout.csv").write_text(header + "a,b,iPhone 13,iOS17,all,mobilenetv2-1.0,fp16,0.5,\n", "utf-8")
    files = ["--measured", tmp_path / "measured.csv", "--holdout", tmp_path / "holdout.csv"]
    report = report_of(tmp_path, "coreml_estimate.py", *files)
    reasons = [row["reason"] for row in report["skipped"]]
    assert reasons == ["nothing is known of its chip", "the model is not known", "measured on a hot phone"]
    seen, held_out = report["sections"]["calibrated on"], report["sections"]["holdout, image"]
    assert [row["family"] for row in seen["rows"]] == ["FastViT", "MobileOne", "RepViT"]
    assert [row["model"] for row in held_out["rows"]] == ["mobilenetv2-1.0"]
    errors = [abs(row["roofline_ms"] / row["measured_ms"] - 1) for row in seen["rows"]]
    assert seen["methods"]["roofline"]["mape_percent"] == pytest.approx(100 * sum(errors) / 3)
    assert max(errors) < 0.2
    assert seen["methods"].keys() == {"roofline", "macs", "parameters"}


class _Refused(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(*x.shape[:2], 2, -1, *x.shape[3:]).flip(2).flatten(2, 3)


def test_conversion_says_what_failed_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = [{"stage": "mid", "candidates": ["none", "conv3d"]}]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY | {"slots": slots}), encoding="utf-8")
    (block,) = SearchSpace.load(tmp_path / "tiny.yaml").placed_blocks().values()
    sixth = Convertible(_Refused(), (torch.randn(1, 4, 16, 2, 2),), ("x",))
    monkeypatch.setattr(conversion_tasks, "block_convertible", lambda _: sixth)
    target = conversion_tasks.Target("iOS18", "fp16")
    result = conversion_tasks.convert(conversion_tasks.Task.of_block(block, target, ("tiny",)))
    assert (result.converted, result.sound, result.size_bytes) == (False, False, None)
    assert result.reason is not None
    assert "rank" in result.reason
    text = conversion.as_text([result])
    assert "iOS18 (Core ML), fp16: 0 of 1 blocks converted" in text
    assert f"not converted: {block.key}: {result.reason}" in text
    monkeypatch.setattr(conversion, "convert_all", lambda *_: [result])
    with pytest.raises(typer.Exit) as ended:
        conversion.main([tmp_path / "tiny.yaml"], "iOS18", "fp16", 8, 20, 1, False)
    assert ended.value.exit_code == 1
    assert "0 of 1" in capsys.readouterr().out


def test_conversion_has_the_same_block_on_smaller_frames_for_calls_that_take_long() -> None:
    """The weights keep their shapes, so what is compared is the same layer."""
    slots = [{"stage": "down.0", "candidates": ["none", "self_attention_3d"]}]
    blocks = SearchSpace.from_dict(SMALL | {"slots": slots}).placed_blocks().values()
    (block,) = (block for block in blocks if block.kind == "self_attention_3d")
    half = conversion_calls.smaller(block, 2)
    assert half is not None
    assert half.output_shape[3:] == tuple(size // 2 for size in block.output_shape[3:])
    assert conversion_calls.smaller(block, 64) is None
    whole, small = block_convertible(block), block_convertible(half)
    assert {name: value.shape for name, value in whole.module.named_parameters()} == {
        name: value.shape for name, value in small.module.named_parameters()
    }
    seconds = [conversion_calls.interpreter_s(item, precision) for item in (whole, small) for precision in GOAL_DB]
    assert seconds[1] > seconds[0] > 0
    assert seconds[1] > seconds[3] > seconds[2]


def test_conversion_forgives_in_fp16_what_torch_loses_too() -> None:
    result = conversion_tasks.Result(
        "key", "kind", "iOS27", "fp16", [], True, 1, psnr_db=54.0, torch_db=70.0, summed_db=55.0
    )
    assert result.sound
    assert not dataclasses.replace(result, summed_db=58.0).sound
    assert not dataclasses.replace(result, torch_db=None, summed_db=None).sound
    text = conversion.as_text([dataclasses.replace(result, size_bytes=1)])
    assert "below 60 dB (54.0; torch in fp16 70.0, with sums in fp16 55.0): key" in text


def test_the_interpreter_adds_products_up_in_fp16_as_the_benchmark_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = nn.Linear(640, 4), torch.randn(3, 640)
    made = get_runtime("coreai").prepare(module, (x,), ("x",), tmp_path).run(to_arrays([x]))
    with torch.no_grad():
        plain = in_half(module)(x.half())
        with conversion_calls.SumsInHalf():
            summed = in_half(module)(x.half())
    assert compare(made, summed.numpy()).psnr_db > 100
    assert compare(made, plain.numpy()).psnr_db < 70


def test_latency_statistics_reads_the_samples_beside_a_table(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    measurement = MeasurementSettings(rounds=2, interval_percent=1000, max_seconds=0, min_seconds=1.5)
    space = SearchSpace.load(tmp_path / "tiny.yaml")
    profile(space, get_runtime("torch", threads=1), tmp_path / "table.csv", measurement=measurement)
    report = report_of(tmp_path, "latency_statistics.py", tmp_path / "table.csv", "--seconds", 0.3)
    assert report["periods"] >= 3
    assert {"10th percentile", "detrended, 25th percentile"} <= report["scatter"].keys()
    assert all(0 < row["median_percent"] <= row["largest_percent"] for row in report["scatter"].values())


def cells_file(folder: Path, **columns: object) -> Path:
    """Cells of three nodes, all 64 of them: a convolution helps, most of all on the way that is longest."""
    worth = {"none": 0.0, "skip_connect": 1.0, "pool": 2.0, "conv": 5.0}
    rows = []
    for one, two, three in itertools.product(worth, repeat=3):
        direct, around = worth[two], min(worth[one], worth[three]) * 2
        cost = sum({"none": 0.1, "skip_connect": 0.2, "pool": 1.0, "conv": 3.0}[name] for name in (one, two, three))
        cell = f"|{one}~0|+|{two}~0|{three}~1|"
        rows.append({"arch_str": cell, "accuracy": 40 + 2 * direct + 4 * around, "latency": cost} | columns)
    path = folder / "cells.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_search_efficiency_compares_searches_on_any_table_of_cells(tmp_path: Path) -> None:
    path = cells_file(tmp_path)
    options = ["--accuracy", "accuracy", "--latency", "latency", "--seeds", 1, "--evaluations", "8,24,64"]
    methods = "nas search;nas search, told the paths;random (Optuna);NSGA-II (pymoo);evolution under limits"
    options += ["--methods", methods, "--proposals", 30]
    report = report_of(tmp_path, "search_efficiency.py", "--data", path, *options)
    assert report["problems"].keys() == {"accuracy, latency"}
    for name, shares in report["mean"].items():
        assert shares == sorted(shares), name
        assert 0 <= shares[0] <= shares[-1] <= 1
        assert report["proposal_ms"][name] > 0
    # All 64 cells evaluated, each once, are the true front.
    assert all(report["mean"][name][-1] == 1 for name in report["mean"] if "pymoo" not in name)
    assert report["mean"]["nas search, told the paths"][1] > report["mean"]["random (Optuna)"][1]
    assert report["large_space"]["proposal_ms"] > 0


def test_the_front_of_a_large_problem_is_that_of_all_its_architectures() -> None:
    whole = LargeProblem.of(1)
    problem = LargeProblem(whole.cost_SC[:5], whole.worth_SC[:5])
    every = [dict(zip(problem.slots, choices, strict=True)) for choices in itertools.product(range(4), repeat=5)]
    points = [(problem.latency_ms(params), problem.loss(params)) for params in every]
    of_all = NonDominatedSorting().do(np.array(points).round(9), only_non_dominated_front=True)
    assert np.unique(np.array(points)[of_all].round(9), axis=0) == pytest.approx(problem.front)
    assert problem.share(points) == pytest.approx(1)
    assert 0 < problem.share(points[:100]) < 1


@pytest.mark.slow
def test_large_space_compares_samplers(tmp_path: Path) -> None:
    rows = report_of(tmp_path, "large_space.py", "--seeds", 1, "--evaluations", "10,30")
    assert [row["sampler"] for row in rows] == ["ParetoSampler", "TPE (Optuna)", "NSGA-II (Optuna)", "random (Optuna)"]
    for row in rows:
        assert 0 <= float(row["after 10"].split(" ")[0]) <= float(row["after 30"].split(" ")[0]) <= 1
        assert row["proposal_ms"] > 0


@pytest.mark.slow
def test_search_efficiency_reads_the_table_of_a_space(tmp_path: Path) -> None:
    """Every architecture of a small space is scored by a search, and the table made of it is a search problem."""
    space = SearchSpace.from_dict(TINY)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    latency = TableLatency(
        space,
        {one.choices: 1.0 + len(str(one)) for one in space.enumerate()},
        provenance="measured",
        device="a formula",
        runtime="none",
    )

    def loss(one: Architecture) -> MeanScore:
        return MeanScore((int(one.id[:4], 16) + int(one.id[place : place + 2], 16)) / 1e4 for place in range(4, 8))

    quality = FunctionQuality(loss, direction="minimize", name="noise")
    config = SearchConfig(evaluations=space.count(), sampler="exhaustive")
    run_search(space, latency, quality, config, tmp_path / "study.db", "all")
    table = ["--space", tmp_path / "space.yaml", "--study", "all", "--storage", tmp_path / "study.db"]
    done = run_script(tmp_path, BENCHMARKS / "space_table.py", *table, "--out", tmp_path / "scores.csv")
    assert done.code == 0, done.err
    options = ["--data", tmp_path / "scores.csv", "--space", tmp_path / "space.yaml", "--seeds", 1, "--proposals", 5]
    count = space.count()
    options += ["--methods", "nas search;random (Optuna)", "--evaluations", f"{count // 4},{count}"]
    report = report_of(tmp_path, "search_efficiency.py", *options)
    assert all(shares[-1] == 1 for shares in report["mean"].values())
    assert all(shares[0] < 1 for shares in report["mean"].values())

    raced = ["--batches", "8/8,4/8", "--seeds", 2, "--evaluations", count]
    done = run_script(tmp_path, BENCHMARKS / "search_racing.py", *options[:4], *raced)
    assert done.code == 0, done.err
    alike, fewer = (int(cells[3]) for line in done.out.splitlines() if len(cells := line.split("│")) == 7)
    assert fewer < alike == 8 * count


@pytest.mark.slow
def test_search_efficiency_names_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    path = cells_file(tmp_path, fraction=0.5, text="x")
    for accuracy, latency, words in [
        ("absent", "latency", "no column 'absent'"),
        ("fraction", "latency", "no percent"),
        ("accuracy", "text", "row 0 is not a number"),
    ]:
        arguments = ["--data", path, "--accuracy", accuracy, "--latency", latency, "--methods", "nas search"]
        done = run_script(tmp_path, BENCHMARKS / "search_efficiency.py", *arguments)
        assert (done.code, done.out) == (2, "")
        assert words in done.err
        assert len(done.err.splitlines()) == 1


@pytest.mark.slow
def test_search_surrogates_compares_models_on_what_a_search_has_seen(tmp_path: Path) -> None:
    arguments = ["--data", cells_file(tmp_path), "--accuracy", "accuracy", "--latency", "latency"]
    correlations = report_of(tmp_path, "search_surrogates.py", *arguments, "--evaluations", "12,30")["spearman"]
    assert {"Gaussian process", "random forest", "gradient boosting"} <= correlations.keys()
    for name, row in correlations.items():
        assert 0.5 < row["all"][0] <= row["all"][1] + 0.1 <= 1.1, name


def test_paths_through_a_cell_do_not_see_what_leads_nowhere(tmp_path: Path) -> None:
    from benchmarks.nasbench201 import PathFeatures, load_problem

    problem = load_problem(cells_file(tmp_path), "accuracy", "latency")
    features = PathFeatures(problem)
    assert features(("conv", "skip_connect", "none")) == features(("pool", "skip_connect", "none"))
    assert features(("conv", "skip_connect", "pool")) == features(("pool", "skip_connect", "conv"))
    assert features(("conv", "skip_connect", "pool")) != features(("conv", "pool", "skip_connect"))


def test_layer_costs_are_those_of_the_fastest_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {kind for kind, _ in layer_costs.rows()} == set(layer_kinds())
    monkeypatch.setattr(layer_costs, "LEVELS", ((32, 8, 8),))
    monkeypatch.setattr(layer_costs, "rows", lambda: [("conv3d", {}), ("conv3d", {"form": "conv3d"})])
    layer_costs.main(frames=2, as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["provenance"] == "estimated"
    layers = {name: cost for name, (cost,) in report["layers"].items()}
    flat, slow = layers["`conv3d`"], layers["`conv3d`, `form: conv3d`"]
    assert (flat["form"], slow["form"]) == ("conv2d", "conv3d")
    assert flat["latency_ms"] < slow["latency_ms"]
    assert flat["parameters"] == slow["parameters"] == 27 * 32 * 32 + 32 + 2 * 32
    assert (flat["processors"], slow["processors"]) == (["neural_engine"], ["cpu", "neural_engine"])


def test_a_run_stands_still_no_longer_than_its_checkpoint_takes(tmp_path: Path) -> None:
    for way in checkpoint_stall.WAYS:
        row = checkpoint_stall.measure(way, gigabytes=0.0004, repeats=2, folder=str(tmp_path))
        assert 0 <= row["stands still, s"] <= row["written after, s"], row
        assert row["memory, GB"] >= 0
    assert not list(tmp_path.iterdir())
