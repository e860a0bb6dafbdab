"""Clips of the front's members as artifacts of a study, as Optuna lists them and its dashboard serves them."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import av
import optuna
import pytest
import torch
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from typer.testing import CliRunner

from nas.cli import app
from nas.errors import NasError
from nas.files import hold, write_json
from nas.models import SuperNet, make_text_encoder
from nas.report.front_clips import ClipSettings, FrontSource, attach_front_clips
from nas.search import SearchConfig, load_study, run_search
from nas.space import SearchSpace
from nas.training import SuperNetConfig
from nas.training.recipes.supernet_files import save_supernet
from tests.search.problem import FormulaLatency, FormulaQuality, small_space

SETTINGS = ClipSettings(("a red circle",), steps=1, guidance_scale=1.0)


def _save(space: SearchSpace, folder: Path) -> Path:
    torch.manual_seed(0)
    save_supernet(SuperNet(space), make_text_encoder(space), SuperNetConfig(), folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with some scored architectures, and a supernet that was not trained."""
    folder, space = tmp_path_factory.mktemp("clips"), small_space()
    config = SearchConfig(evaluations=2, sampler="random")
    run_search(space, FormulaLatency(space), FormulaQuality(), config, folder / "study.db", "search")
    _save(space, folder / "supernet")
    return folder


@pytest.fixture
def source(made: Path, tmp_path: Path) -> FrontSource:
    """The same in a study of its own."""
    shutil.copyfile(made / "study.db", tmp_path / "study.db")
    return FrontSource(tmp_path / "study.db", "search", made / "supernet")


def _optuna(source: FrontSource) -> optuna.Study:
    return optuna.load_study(study_name=source.study, storage=f"sqlite:///{source.storage}")


def _frames(file: Path) -> int:
    with av.open(str(file)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.slow
def test_optuna_lists_a_video_of_each_member_and_the_dashboard_serves_it(source: FrontSource, tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    folder, front = tmp_path / "artifacts", load_study(source.storage, source.study).front
    clips = attach_front_clips(source, folder, SETTINGS)
    assert [clip.member for clip in clips] == list(front)

    store, listed = FileSystemArtifactStore(folder), get_all_artifact_meta(_optuna(source))
    assert {meta.filename: meta.mimetype for meta in listed} == {clip.file: "video/mp4" for clip in clips}
    for meta in listed:
        download_artifact(artifact_store=store, artifact_id=meta.artifact_id, file_path=str(tmp_path / meta.filename))
        assert _frames(tmp_path / meta.filename) >= 6 * small_space().file.video.fps
    application = dashboard.wsgi(f"sqlite:///{source.storage}", artifact_store=store)
    with _served(application) as read:
        (summary,) = json.loads(read("api/studies"))["study_summaries"]
        place = summary["study_id"]
        trials = {trial["number"]: trial for trial in json.loads(read(f"api/studies/{place}"))["trials"]}
        for clip in clips:
            trial = trials[clip.member.trial]
            (artifact,) = trial["artifacts"]
            assert artifact["filename"] == clip.file
            served = read(f"artifacts/{place}/{trial['trial_id']}/{artifact['artifact_id']}")
            assert served == (tmp_path / clip.file).read_bytes()
        assert sum(bool(trial["artifacts"]) for trial in trials.values()) == len(clips)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        """Nothing: the log is nobody's."""


@contextlib.contextmanager
def _served(application: Any) -> Iterator[Callable[[str], bytes]]:
    """Serve an application; yields what reads a page of it."""
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def read(path: str) -> bytes:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/{path}", timeout=30) as answer:
                content: bytes = answer.read()
            return content

        yield read
        server.shutdown()


@pytest.mark.slow
def test_what_is_attached_is_not_made_again_and_what_was_interrupted_is_completed(
    source: FrontSource, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts"
    clips = attach_front_clips(source, folder, settings := SETTINGS)
    first = {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(_optuna(source))}

    again = attach_front_clips(source, folder, settings)
    assert [clip.is_new for clip in clips + again] == [True] * len(clips) + [False] * len(clips)
    # A process that is killed between the attribute and the file leaves the attribute alone.
    (folder / first[clips[0].file]).unlink()
    repaired = attach_front_clips(source, folder, settings)
    assert [clip.is_new for clip in repaired] == [True] + [False] * (len(clips) - 1)
    assert {meta.filename: meta.artifact_id for meta in get_all_artifact_meta(_optuna(source))} == first
    assert _frames(folder / first[clips[0].file]) == _frames(folder / first[clips[1].file])
    # So does the dashboard when a user removes the artifact there.
    study = _optuna(source)
    study._storage.set_study_system_attr(study._study_id, f"artifacts:{first[clips[0].file]}", "null")
    (folder / first[clips[0].file]).unlink()
    assert attach_front_clips(source, folder, settings)[0].is_new
    assert len([file for file in folder.iterdir() if file.name != ".lock"]) == len(clips)
    # Another prompt makes other videos, and the search goes on as if nothing were attached.
    attach_front_clips(source, folder, replace(settings, prompts=("a green circle",)))
    assert len([file for file in folder.iterdir() if file.name != ".lock"]) == 2 * len(clips)
    space, config = small_space(), SearchConfig(evaluations=3, sampler="random")
    assert run_search(space, FormulaLatency(space), FormulaQuality(), config, source.storage, "search").scored == 1


def _nas(*arguments: object) -> str:
    """What a command prints; raises what it raises."""
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if isinstance(result.exception, NasError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """The folder of a run up to its search."""
    root = tmp_path / "run"
    for name in ("search", "train"):
        (root / name).mkdir(parents=True)
    shutil.copyfile(made / "study.db", root / "search" / "study.db")
    shutil.copytree(made / "supernet", root / "train" / "supernet")
    write_json(root / "stages" / "search.json", {"digest": "d", "done": True})
    return root


@pytest.mark.slow
def test_a_run_knows_its_study_its_supernet_and_prompts(run: Path) -> None:
    with pytest.raises(NasError, match="there is no prompt to make clips of"):
        _nas("attach", run, "--artifact-dir", run / "artifacts")
    clips = [{"prompt": f"scene {number}"} for number in range(8)]
    write_json(run / "stages" / "samples.json", {"digest": "d", "done": True, "values": {"clips": clips}})
    quick = ("--artifact-dir", run / "artifacts", "--steps", 1, "--guidance-scale", 1)
    found = json.loads(_nas("attach", run, *quick, "--json"))
    assert found["prompts"] == ["scene 0", "scene 2", "scene 4", "scene 6"]
    assert {clip["now"] for clip in found["clips"]} == {"attached"}
    assert found["open_with"] == (
        f"optuna-dashboard sqlite:///{run / 'search' / 'study.db'} --artifact-dir {run / 'artifacts'}"
    )


def test_wrong_input_is_one_error_and_attaches_nothing(source: FrontSource, run: Path, tmp_path: Path) -> None:
    study, folder, empty = source.storage, tmp_path / "artifacts", tmp_path / "empty"
    empty.mkdir()
    other = _save(small_space(name="other"), tmp_path / "other")
    ends = ("--artifact-dir", folder, "--prompt", "a circle")
    for given, words in [
        ((study, *ends), "needs --supernet"),
        ((run, *ends, "--supernet", source.supernet), "a run knows its study and its supernet"),
        ((tmp_path, *ends), "is not the folder of a run"),
        ((tmp_path / "absent", *ends), "absent: no such run or study"),
        ((tmp_path / "absent.db", *ends, "--supernet", source.supernet), "absent.db: no such run or study"),
        ((study, *ends, "--supernet", empty), "holds no trained supernet"),
        ((study, *ends, "--supernet", other), "of the space other; the study search searched small"),
        ((study, *ends, "--supernet", source.supernet, "--study", "s"), "no study 's'"),
        ((study, "--artifact-dir", folder, "--supernet", source.supernet), "there is no prompt"),
        ((study, "--artifact-dir", study, "--prompt", "a", "--supernet", source.supernet), "study.db"),
    ]:
        with pytest.raises(NasError, match=words):
            _nas("attach", *given)
    with hold(folder), pytest.raises(NasError, match="another process is using this folder"):
        _nas("attach", study, *ends, "--supernet", source.supernet)
    assert get_all_artifact_meta(_optuna(source)) == []
    assert [file.name for file in folder.iterdir()] == [".lock"]
