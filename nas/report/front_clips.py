"""Clips of the members of a front, attached to their trials: optuna-dashboard shows them.

Shape suffixes: T frames, C channels (RGB), H height, W width.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from nas.compression import weight_format
from nas.data import to_bytes
from nas.errors import BudgetError, CheckpointError, ConfigError
from nas.files import fingerprint
from nas.formatting import counted
from nas.models import Generation
from nas.models.model_folders import supernet_folder
from nas.progress import progress_bar
from nas.report.clip_grid import write_clip_grid
from nas.search import FrontMember, StudyRecord, load_study
from nas.search.results.record import empty_front
from nas.search.storage.attachments import Attachments, attachments
from nas.space import SearchSpace
from nas.space.layers import layers_text
from nas.training.recipes.inheriting import InheritedModels


@dataclass(frozen=True)
class FrontSource:
    """The front, and the weights of its members.

    Args:
        storage: Path of a SQLite file, or a storage URL.
        study: Name of the study.
        supernet: What `train_supernet` wrote.
        search_scores: Whether the front is that of the search, not that of the second scoring.
    """

    storage: str | Path
    study: str
    supernet: Path
    search_scores: bool = False


@dataclass(frozen=True)
class ClipSettings:
    """What decides the clips, beside the weights.

    Args:
        prompts: What they show, side by side.
        steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1 is none.
        seed: Seed of the noise, which all architectures share.
    """

    prompts: tuple[str, ...]
    steps: int = 25
    guidance_scale: float = 3.0
    seed: int = 0


@dataclass(frozen=True)
class AttachedClip:
    """The clips of a member.

    Args:
        member: The member.
        file: Name of the video, as the dashboard shows it.
        is_new: Whether it was made now; an earlier call has made it otherwise.
    """

    member: FrontMember
    file: str
    is_new: bool


def attach_front_clips(source: FrontSource, folder: str | Path, settings: ClipSettings) -> list[AttachedClip]:
    """Make a video of each member of a study's front, with the weights of the supernet, and attach it to its trial.

    All members start from the same noise. A video that is attached already is not made again, so a call that was
    killed can be repeated. Other prompts, settings or weights make further videos.

    Args:
        source: The study and the supernet.
        folder: Folder of the videos, the `--artifact-dir` of optuna-dashboard.
        settings: Prompts, and how clips are made.

    Raises:
        BudgetError: The front is empty.
        CheckpointError: There is no supernet, it is damaged, or it is of another space than the study.
        ConfigError: There is no prompt, or the study is damaged.
        StorageError: The storage or the folder cannot be used, or another process attaches files to the study.
        TrainingError: A clip is not finite.
    """
    if not settings.prompts:
        raise ConfigError("there is no prompt to make clips of", where="prompts", hint="give one with --prompt")
    record = load_study(source.storage, source.study)
    record = record.searched if source.search_scores else record.final
    if not record.front:
        raise BudgetError(empty_front(record), where=record.where, hint="resume it with `nas search`")
    with attachments(source.storage, source.study, Path(folder)) as attached:
        space = _space(record, source.supernet, attached)
        generation = Generation(steps=settings.steps, guidance_scale=settings.guidance_scale)
        weights = None if record.weights is None else weight_format(record.weights).kind
        models = InheritedModels(space, source.supernet, generation, weights)
        return _attach(attached, record, models, settings)


def _space(record: StudyRecord, supernet: Path, attached: Attachments) -> SearchSpace:
    """The space of the study, which the supernet was trained for."""
    space = SearchSpace.load(supernet_folder(supernet) / "space.yaml")
    if space.fingerprint != attached.space_fingerprint:
        raise CheckpointError(
            f"is a supernet of the space {space.name}; the study {record.name} searched {record.space}, or another "
            "version of it",
            where=supernet,
            hint="name the supernet that the study has scored",
        )
    return space


def _attach(
    attached: Attachments, record: StudyRecord, models: InheritedModels, settings: ClipSettings
) -> list[AttachedClip]:
    digest = fingerprint([models.fingerprint, asdict(settings)])[:8]
    names = {member.trial: f"trial-{member.trial}-{member.architecture.id}-{digest}.mp4" for member in record.front}
    missing = [member for member in record.front if not attached.has(member.trial, names[member.trial])]
    models.text_encoder.warn_of_losses(settings.prompts if missing else ())
    with progress_bar("making clips", len(missing)) as advance, tempfile.TemporaryDirectory() as temporary:
        for member in missing:
            file = Path(temporary) / names[member.trial]
            _write(member, record, models, settings, file)
            attached.attach(member.trial, file)
            file.unlink()
            advance("")
    made = {member.trial for member in missing}
    return [AttachedClip(member, names[member.trial], member.trial in made) for member in record.front]


def _write(
    member: FrontMember, record: StudyRecord, models: InheritedModels, settings: ClipSettings, file: Path
) -> None:
    model = models(models.space.check(member.architecture))
    # One by one: a large model has no memory for more.
    clips_TCHW = [
        to_bytes(model.generate([prompt], seed=settings.seed, first=number))[0].cpu()
        for number, prompt in enumerate(settings.prompts)
    ]
    write_clip_grid(clips_TCHW, settings.prompts, _title(member, record, settings), file, models.space.file.video.fps)


def _title(member: FrontMember, record: StudyRecord, settings: ClipSettings) -> str:
    """What made the clips."""
    guidance = "" if settings.guidance_scale == 1 else f" with guidance {settings.guidance_scale:g}"
    place = f" on {member.device or record.device}"
    how = f"weights of the supernet, {counted(settings.steps, 'step')}{guidance}"
    return (
        f"{member.architecture.id}, {member.latency_ms:,.4g} ms{place} in {counted(record.steps, 'step')}: "
        f"{layers_text(member.architecture)}. Clips: {how}."
    )
