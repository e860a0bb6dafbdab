"""The folder of a run: what its stages write there and read from each other."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from nas.data import DataSplit
from nas.latency import LatencyPredictor, LatencyTable, device_latencies, usable_space
from nas.latency.prediction.device_latencies import DeviceLatencies
from nas.models import VideoModel
from nas.models.parts import unloaded_codec
from nas.pipeline.config import RunConfig, backbone_folder
from nas.runtimes import Runtime
from nas.search import StudyRecord, load_study
from nas.space import Architecture, SearchSpace
from nas.training import open_clips

STUDY = "search"


class RunFolder:
    """The folder of one run, over one search space and one set of clips.

    Args:
        config: The run's settings.
        space: Its search space.
        base: Folder of the run's file, from which its relative paths start.
        root: Folder of the run.
    """

    def __init__(self, config: RunConfig, space: SearchSpace, base: Path, root: Path) -> None:
        self.config, self.space, self.base, self.root = config, space, base, root

    @cached_property
    def clips(self) -> DataSplit:
        """The run's clips, decoded once and kept in the run's folder.

        Raises:
            DataError: They cannot be opened, or a later stage could not use them.
        """
        fraction, cache = self.config.validation_fraction, self.root / "data"
        clips = open_clips(self.config.data, self.space, base=self.base, cache=cache, validation_fraction=fraction)
        for side in (clips.train, clips.validation):
            side.latents(unloaded_codec(self.space))
        return clips

    @property
    def converted_networks(self) -> Path:
        """Converted networks of the fit. The check measures some of them again and removes the folder."""
        return self.root / "fit" / "converted"

    @property
    def backbone(self) -> Path | None:
        """The model of images that the supernet starts from, if any."""
        return self.root / "backbone" / "model" if self.trains_backbone else backbone_folder(self.config, self.base)

    @property
    def trains_backbone(self) -> bool:
        """Whether the run trains that model itself."""
        return self.config.backbone is not None and self.config.backbone.training is not None

    @property
    def storage(self) -> Path:
        """The file of the study."""
        return self.root / "search" / "study.db"

    @property
    def record(self) -> StudyRecord:
        """The study. If this run does not rescore, second scores of an earlier run are left out."""
        record = load_study(self.storage, STUDY)
        return record.searched if self.config.rescore is None else record

    @property
    def runtime(self) -> Runtime:
        """The runtime that measures."""
        return self.config.profile.open_runtime()

    @property
    def table(self) -> LatencyTable:
        """The table that the profile stage wrote."""
        return LatencyTable.load(self.table_path)

    @property
    def table_path(self) -> Path:
        """The file of that table."""
        return self.root / "profile" / "table.csv"

    @property
    def usable(self) -> SearchSpace:
        """The search space without what cannot run on the device."""
        return usable_space(self.space, self.table)[0]

    @property
    def predictor(self) -> LatencyPredictor:
        """Predicts the latency of the pipeline on this machine from that table and from the fit beside it."""
        # Of several devices, another one may have needed an implementation that is not the fastest here.
        space = self.space if self.config.search.tables else self.usable
        return LatencyPredictor.open(space, self.table_path, steps=self.config.search.steps)

    @property
    def other_tables(self) -> list[Path]:
        """The tables of other devices."""
        return [self.base / table for table in self.config.search.tables]

    @property
    def on_devices(self) -> DeviceLatencies:
        """What runs on this machine and on the devices of the other tables, and its latencies."""
        return device_latencies(self.space, [self.table_path, *self.other_tables], self.config.search.steps)

    @property
    def chosen(self) -> Architecture:
        """The architecture that the front stage picked."""
        return self.space.load_architecture(self.root / "front" / "architecture.yaml")

    @property
    def student(self) -> VideoModel:
        """The model that the distill stage made."""
        return VideoModel.load(self.root / "distill" / "model")
