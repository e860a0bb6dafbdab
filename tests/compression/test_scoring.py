"""What a search scores with compressed weights is what each architecture's own files will hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from nas.cli import main
from nas.compression import WeightKind, compress_module
from nas.data import MovingShapesConfig
from nas.errors import ConfigError, TableError
from nas.latency import LatencyRow, LatencyTable, TableMetadata, fastest_settings, kind_for_tables, space_blocks
from nas.models import VideoModel
from nas.quality import HeldOutFlowLoss, QualityMetric
from nas.search import SearchConfig, load_study, run_search
from nas.space import SearchSpace
from nas.training import SearchInputs, SuperNetConfig, held_out_quality, inherit_model, open_clips, train_supernet
from tests.search.formulas import FormulaLatency
from tests.tiny import TINY

FILE = TINY | {"slots": [{"stage": "down.1", "candidates": ["none", "conv1d", "self_attention_1d"]}]}
SPACE = SearchSpace.from_dict(FILE)
CLIPS = open_clips(MovingShapesConfig(kind="moving_shapes", clips=12), SPACE, base=".")
Nas = Callable[..., str]


@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet in which every weight has a say."""
    folder = tmp_path_factory.mktemp("made") / "supernet"
    config = SuperNetConfig(steps=3, batch_size=2, image_batch_size=1, warmup_steps=0, learning_rate=1e-2)
    train_supernet(SPACE, CLIPS.train, config, folder)
    return folder


def metric(folder: Path, kind: WeightKind | None, **options: int) -> QualityMetric:
    return held_out_quality(SPACE, folder, CLIPS, batches=1, weights=kind, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["int8", "palettized_4"])
def test_an_architecture_is_scored_as_if_it_were_compressed_alone(supernet: Path, kind: WeightKind) -> None:
    quality, plain = metric(supernet, kind), metric(supernet, None)
    assert isinstance(plain, HeldOutFlowLoss)
    for architecture in SPACE.enumerate():
        alone = inherit_model(SPACE, supernet, architecture).compress(kind)
        assert quality.score(architecture) == pytest.approx(plain.loss_of(alone.unet, alone.text_encoder), rel=1e-6)
        assert quality.score(architecture) != pytest.approx(plain.score(architecture), rel=1e-6)


@pytest.mark.slow
def test_a_network_that_is_trained_alone_is_compressed_after_its_training(supernet: Path) -> None:
    inputs = SearchInputs(SPACE, supernet=supernet, clips=lambda: CLIPS, weights="palettized_6")
    plain = SearchInputs(SPACE, supernet=supernet, clips=lambda: CLIPS)
    one, other = (given.models(finetune_steps=1)(SPACE.smallest()) for given in (inputs, plain))
    first = one.unet.get_parameter("conv_in.weight")
    assert first.numel() > first.unique().numel() == 64
    compress_module(other.unet, "palettized_6")
    assert all(map(torch.equal, one.unet.parameters(), other.unet.parameters()))


def test_the_kind_is_in_the_name_and_the_fingerprint(supernet: Path) -> None:
    made = {kind: metric(supernet, kind) for kind in (None, "fp32", "fp16", "int8")}
    assert [quality.name for quality in made.values()] == [
        "held-out flow loss", "held-out flow loss", "held-out flow loss, fp16 weights",
        "held-out flow loss, int8 weights",
    ]  # fmt: skip
    assert len({quality.fingerprint for quality in made.values()}) == 3
    assert len({quality.parts_fingerprint for quality in made.values()}) == 3
    assert made["fp32"].fingerprint == made[None].fingerprint


@pytest.mark.slow
def test_a_study_is_of_one_kind_of_weights(supernet: Path, tmp_path: Path) -> None:
    def run(kind: WeightKind | None, name: str) -> None:
        run_search(
            SPACE, FormulaLatency(SPACE), metric(supernet, kind), SearchConfig(evaluations=2), tmp_path / "s.db", name
        )

    run("int8", "compressed")
    run("int8", "compressed")
    assert load_study(tmp_path / "s.db", "compressed").weights == "int8"
    for other in ("palettized_6", None):
        with pytest.raises(ConfigError, match="was made with another quality metric and another quality content"):
            run(other, "compressed")
    run(None, "plain")
    assert load_study(tmp_path / "s.db", "plain").weights is None


@pytest.fixture
def nas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Nas:
    """Run a command in a folder with a space; what it prints, or the line of its error."""
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(FILE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "250")

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["nas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        if not ended.value.code:
            return printed.out
        (line,) = printed.err.splitlines()
        return line

    return run


STUDY = ("--study", "s", "--storage", "s.db")


def table(kind: str | None, folder: Path) -> Path:
    """A table with some latency for each block, for a kind of weights."""
    options = {} if kind is None else {"weights": kind}
    metadata = TableMetadata(device="a phone", runtime="coreml", precision="fp16", compute_unit="all", options=options)
    rows = [
        LatencyRow(key=block.key, kind=block.kind, latency_ms=1 + 1 / 3 * number, provenance="estimated")
        for number, block in enumerate(space_blocks(SPACE))
    ]
    return Path(LatencyTable(metadata).add(rows).save(folder / f"{kind}.csv").where or "")


def test_quality_and_latency_are_of_the_same_weights(tmp_path: Path) -> None:
    compressed, plain = (LatencyTable.load(table(kind, tmp_path)) for kind in ("int8", None))
    assert kind_for_tables(None, [plain]) is None
    assert kind_for_tables("palettized_6", [plain]) == "palettized_6"
    assert kind_for_tables(None, [plain, compressed]) == kind_for_tables("int8", [compressed]) == "int8"
    for other in ("fp32", "fp16", "palettized_8"):
        with pytest.raises(ConfigError, match=f"int8.csv: is for int8 weights, not {other}"):
            kind_for_tables(other, [plain, compressed])


def test_the_fastest_setting_is_sought_among_tables_of_one_kind(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"None.csv: is for fp16 weights, .*int8.csv for int8"):
        fastest_settings(SPACE, [table("int8", tmp_path), table(None, tmp_path)])


@pytest.mark.slow
def test_a_search_takes_the_kind_of_its_table_and_a_second_scoring_that_of_the_study(
    nas: Nas, supernet: Path, tmp_path: Path
) -> None:
    given = ("space.yaml", *STUDY, "--supernet", supernet, "--data", "moving_shapes", "--batches", 1)
    search = ("search", *given, "--table", table("int8", tmp_path), "--evaluations", 2)
    assert "held-out flow loss, int8 weights (lower is better)" in nas(*search)
    assert "is for int8 weights, not fp16; ask for int8 weights" in nas(*search, "--weights", "fp16")
    assert "held-out flow loss, int8 weights" in nas("rescore", *given)
    assert "held-out flow loss, palettized_6 weights" in nas("rescore", *given, "--weights", "palettized_6")


def test_weights_that_nothing_is_scored_with_are_refused(nas: Nas, tmp_path: Path) -> None:
    command = ("search", "space.yaml", *STUDY, "--table", table(None, tmp_path), "--quality", "math:sqrt")
    refusal = nas(*command, "--direction", "minimize", "--weights", "int8")
    assert "--weights means nothing to the metric function; leave it out" in refusal
    assert "no kind of weights 'int5' (known: fp32, fp16, int8" in nas(*command, "--weights", "int5")


@pytest.mark.slow
def test_clips_of_compressed_models(nas: Nas, supernet: Path, tmp_path: Path) -> None:
    model = inherit_model(SPACE, supernet, SPACE.smallest(), steps=2, guidance_scale=1)
    model.save(tmp_path / "model")
    noise_BTCHW = model.noise(1, seed=0)
    plain_BTCHW = model.denoise(["a dog"], noise_BTCHW)
    printed = nas("compare", "model", "--teacher", "model", "--prompt", "a dog", "--out", "sheet.png",
                  "--weights", "int8", "--weights", "palettized_4")  # fmt: skip
    assert "student, int8 weights" in printed
    assert "student, palettized_4 weights" in printed
    assert "clip.mp4" in nas("generate", "model", "--prompt", "a dog", "--out", "clip.mp4", "--weights", "fp16")
    errors = [
        float((VideoModel.load(tmp_path / "model").compress(kind).denoise(["a dog"], noise_BTCHW) - plain_BTCHW)
              .square().mean()) for kind in ("fp32", "fp16", "int8", "palettized_4")
    ]  # fmt: skip
    assert errors == sorted(errors)
    assert errors[0] == 0 < errors[1]
