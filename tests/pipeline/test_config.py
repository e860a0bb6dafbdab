"""The file of a run: what a later stage would refuse is refused before the first."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nas.data.moving_shapes.scene import BEHAVIOURS, COLOURS, DIRECTIONS, SHAPES, SPEEDS, ShapeScene
from nas.errors import ArchitectureError, CheckpointError, ConfigError, NasError, RuntimeUnavailableError
from nas.files import fingerprint
from nas.latency import LatencyTable, TableMetadata
from nas.models import Generation, VideoModel, make_text_encoder
from nas.pipeline import load_run, run_pipeline
from nas.pipeline.config import run_inputs
from nas.pipeline.runner import Stage, StageResult, stages_folder
from nas.pipeline.stages import Stages
from nas.runtimes import get_runtime
from nas.search import SearchConfig
from nas.space import SearchSpace
from tests.tiny import TINY

RUN: dict[str, Any] = {"space": "space.yaml", "out": "out", "data": {"kind": "moving_shapes", "clips": 40}}
FROZEN = {"train": {"freeze_backbone": True}}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(TINY))
    return tmp_path


def _run_file(base: Path, **changes: Any) -> Path:
    path = base / "run.yaml"
    path.write_text(yaml.safe_dump(RUN | changes))
    return path


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (FROZEN, ConfigError, "the frozen backbone would keep random weights"),
        ({"backbone": {}}, ConfigError, "backbone: give either the folder of a model, or a training"),
        ({"backbone": {"model": "images", "training": {"steps": 2}}}, ConfigError, "backbone: give either the folder"),
        ({"backbone": {"model": "images"}}, CheckpointError, "not a model folder"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_is_made(
    base: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_pipeline(_run_file(base, **changes))
    assert not (base / "out").exists()


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"runtime": "tvm"}, r"unknown runtime 'tvm' \(known: onnxruntime, torch, coreml"),
        ({"options": {"opset_": 21}}, r"runtime onnxruntime has no option 'opset_' \(known: threads, opset, weights\)"),
        (
            {"runtime": "torch", "options": {"compute_unit": "tpu"}},
            "runtime torch: compute_unit: expected 'cpu' or 'gpu'",
        ),
        ({"threads": 1, "options": {"threads": 2}}, "threads are given twice"),
    ],
)
def test_a_runtime_or_option_that_is_unknown_is_refused_when_the_file_is_read(
    base: Path, profile: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run(_run_file(base, profile=profile))


@pytest.mark.parametrize(
    ("export", "message"),
    [
        (
            {"options": {"opset_": 21}},
            r"run\.yaml: export.*no format to export has an option 'opset_' \(known: threads",
        ),
        ({"options": {"deployment_target": "iOS3"}}, "deployment_target: expected 'iOS17', 'iOS18' or 'iOS26'"),
        ({"options": {"weights": "int8"}}, "export: options: weights is a key of the run, beside export"),
        ({"chunks": 3}, "export.chunks: expected 1 or 2"),
    ],
)
def test_what_converters_would_refuse_is_refused_when_the_file_is_read(
    base: Path, export: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run(_run_file(base, export=export))


@pytest.mark.parametrize("stage", ["quality", "rescore"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "function"}, "this metric needs the option function; give package.module:function"),
        ({"metric": "function", "function": "no_such_module:score"}, "no module 'no_such_module'"),
        ({"metric": "function", "function": "json:nothing"}, "module json has no 'nothing'"),
        ({"metric": "prompt_accuracy"}, "this metric needs the option classifier"),
        ({"metric": "frechet_distance", "classifier": "nowhere"}, "nowhere: the classifier is not a folder"),
    ],
)
def test_a_metric_that_cannot_be_made_is_refused_when_the_file_is_read(
    base: Path, stage: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as said:
        load_run(_run_file(base, **{stage: options}))
    assert f"run.yaml: {stage}: " in str(said.value)
    assert message in str(said.value)


def test_options_of_the_runtime_reach_it_and_files_without_them_stay_as_they_were(base: Path) -> None:
    options = {"threads": 2, "opset": 21}
    given = load_run(_run_file(base, profile={"options": options}))[0].profile
    settings = given.open_runtime().settings
    assert (settings.threads, settings.opset) == (2, "21")
    assert given.model_dump(mode="json")["options"] == options
    earlier = load_run(_run_file(base, profile={"threads": 2}))[0].profile
    assert earlier.open_runtime().settings.threads == 2
    assert "options" not in earlier.model_dump(mode="json")  # it enters the digest of finished stages


@pytest.mark.parametrize("stage", ["profile", "fit", "check"])
def test_files_that_call_a_measurement_protocol_are_the_same_run(base: Path, stage: str) -> None:
    new, old = (
        getattr(load_run(_run_file(base, **{stage: {key: {"rounds": 7}}}))[0], stage)
        for key in ("measurement", "protocol")
    )
    assert new == old
    assert new.measurement.rounds == 7
    digests = {Stage(stage, [settings], (), run=lambda _: StageResult("")).digest([]) for settings in (new, old)}
    plain = new.model_dump(mode="json")
    plain["protocol"] = plain.pop("measurement")
    assert digests == {fingerprint([stage, [plain], []])}, "stages of earlier versions would be done again"


def test_a_backbone_is_trained_where_every_slot_can_be_empty(base: Path) -> None:
    changes = FROZEN | {"backbone": {"training": {"steps": 2}}}
    assert load_run(_run_file(base, **changes))[0].backbone
    slots = [{"stage": "mid", "candidates": ["conv1d", "conv3d"]}]
    (base / "space.yaml").write_text(yaml.safe_dump(TINY | {"slots": slots}))
    with pytest.raises(ArchitectureError, match="cannot hold 'none'"):
        load_run(_run_file(base, **changes))


def test_training_begins_again_with_another_model_of_images(base: Path) -> None:
    space = SearchSpace.from_dict(TINY)
    digests = []
    for _ in range(2):
        VideoModel.build(space, space.smallest(), Generation()).save(base / "images")
        config, space = load_run(_run_file(base, backbone={"model": "images"}, **FROZEN))
        stages = {stage.name: stage for stage in Stages(config, space, base, base / "out").all()}
        assert "backbone" not in stages
        digests.append({name: stages[name].digest([]) for name in ("train", "profile")})
    assert digests[0]["train"] != digests[1]["train"]
    assert digests[0]["profile"] == digests[1]["profile"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", r"config\.yaml: exists, but a run would write to it"),
        ("videos", "the output is inside"),
        ("", "a path is empty"),
    ],
)
def test_a_run_writes_over_nothing_of_the_user(base: Path, out: str, message: str) -> None:
    (base / "config.yaml").write_text("mine: true\n")
    (base / "videos").mkdir()
    changes = {"data": {"kind": "videos", "path": "videos"}} if out == "videos" else {}
    file = _run_file(base, **changes, out=out)
    before = {path: path.read_bytes() for path in base.rglob("*") if path.is_file()}
    with pytest.raises(NasError, match=message):
        run_pipeline(file)
    assert {path: path.read_bytes() for path in base.rglob("*") if path.is_file()} == before


def test_a_run_file_that_its_own_run_would_replace_is_refused(base: Path) -> None:
    file = _run_file(base, out=".").rename(base / "config.yaml")
    text = file.read_text()
    with pytest.raises(ConfigError, match=r"config\.yaml: the output is also an input"):
        run_pipeline(file)
    assert file.read_text() == text


def test_what_accelerate_is_configured_for_is_refused_before_the_first_stage(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    with pytest.raises(ConfigError, match="_ACCUMULATION_STEPS is 4, but gradient_accumulation is 1"):
        run_pipeline(_run_file(base))
    assert not (base / "out").exists()


def test_the_front_is_scored_again_unless_the_file_says_otherwise(base: Path) -> None:
    assert load_run(_run_file(base, rescore=None))[0].rescore is None
    by_default = load_run(_run_file(base, quality={"batches": 8}))[0].rescore
    assert by_default == load_run(_run_file(base, rescore={"batches": 64}))[0].rescore
    # Training each architecture alone a second time would take longer than the search.
    assert load_run(_run_file(base, quality={"finetune_steps": 3}))[0].rescore is None


def _table(base: Path, device: str) -> str:
    """A table of a phone beside the run's file; its name."""
    LatencyTable(TableMetadata(device=device, runtime="coreml")).save(base / f"{device}.csv")
    return f"{device}.csv"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "int5"}, "weights: .*palettized_6.*int5"),
        ({"profile": {"options": {"weights": "int8"}}}, "profile measures int8 weights, weights is None"),
        (
            {"profile": {"options": {"weights": "int8"}}, "weights": "palettized_6"},
            "profile measures int8 weights, weights is palettized_6; make them equal",
        ),
        ({"search": {"tables": ["int8.csv"], "latency": "a phone"}}, "int8.csv: is for int8 weights, not fp32"),
    ],
)
def test_a_run_searches_for_the_weights_that_are_profiled(base: Path, settings: dict[str, Any], message: str) -> None:
    LatencyTable(TableMetadata(device="a phone", runtime="coreml", options={"weights": "int8"})).save(base / "int8.csv")
    with pytest.raises(ConfigError, match=message):
        load_run(_run_file(base, **settings))


def test_what_depends_on_the_weights_is_done_again_with_others(base: Path) -> None:
    digests = []
    for settings in ({}, {"weights": "int8"}, {"weights": "int8", "profile": {"options": {"weights": "int8"}}}):
        config, space = load_run(_run_file(base, **settings))
        stages = Stages(config, space, base, base / "out").all()
        digests.append({stage.name: stage.digest([]) for stage in stages})
    changed = [{name for name in first if first[name] != other[name]} for first, other in itertools.pairwise(digests)]
    assert changed == [{"search", "rescore", "export"}, {"profile"}]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": {"latency": "worst"}}, "search.latency: the search has one device, .*; there is no other"),
        ({"search": {"tables": ["a phone.csv"]}}, 'search.latency: .*2 devices, .*a phone.* --latency worst'),
        ({"search": {"tables": ["a phone.csv"], "latency": "x"}}, r"unknown device 'x' \(known: .*a phone"),
        ({"search": {"tables": ["a phone.csv"], "latency": "worst"}}, "search.latency: .*has no latency budget"),
        ({"search": {"tables": ["a phone.csv"], "latency": "a phone"}, "pick": {"latency_budget_ms": 9}},
         "pick.latency_budget_ms: 9 ms without a device"),
        ({"search": {"tables": ["gone.csv"], "latency": "a phone"}}, "gone.csv"),
        ({"pick": {"latency_budget_ms": {"x": 9}}}, "pick.latency_budget_ms: unknown device 'x'"),
    ],
)  # fmt: skip
def test_what_is_said_of_devices_is_checked_when_the_file_is_read(
    base: Path, settings: dict[str, Any], message: str
) -> None:
    _table(base, "a phone")
    with pytest.raises(NasError, match=message):
        load_run(_run_file(base, **settings))


def test_a_run_may_name_tables_of_other_devices(base: Path) -> None:
    here = get_runtime("onnxruntime").device
    settings = {"tables": [_table(base, "a phone")], "latency": "worst",
                "budgets": {"latency_ms": {"a phone": 9, here: 90}}}  # fmt: skip
    config, space = load_run(_run_file(base, search=settings, pick={"latency_budget_ms": {here: 80}}))
    assert config.search.budgets.latency_ms == {"a phone": 9, here: 90}
    assert base / "a phone.csv" in run_inputs(config, space, base)
    assert load_run(_run_file(base))[0].search.model_dump() == SearchConfig().model_dump()


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML executes here")
def test_a_runtime_that_cannot_measure_here_ends_a_run_before_its_first_stage(base: Path) -> None:
    path = _run_file(base, profile={"runtime": "coreml"})
    with pytest.raises(RuntimeUnavailableError, match=r"coreml cannot measure here.*`nas latency estimate`"):
        run_pipeline(path)
    assert not stages_folder(base / "out").exists()


def test_the_smallest_example_reads_its_captions_whole() -> None:
    config, space = load_run("examples/smallest/run.yaml")
    encoder, choices = make_text_encoder(space), (SHAPES, COLOURS, DIRECTIONS, SPEEDS, BEHAVIOURS)
    captions = [ShapeScene(*chosen).caption for chosen in itertools.product(*choices)]
    assert config.data.kind == "moving_shapes"
    assert [caption for caption in captions if not encoder.reads_all(caption)] == []
