"""The search space: what may be chosen, and what each choice means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, NasError
from nas.files import fingerprint, load_yaml, parse
from nas.space.architecture import Architecture
from nas.space.autoencoder_layouts import autoencoder_layout
from nas.space.budgets import Budgets
from nas.space.choices import ArchitectureSet
from nas.space.implementations import module_names
from nas.space.layers import NONE, layer_config
from nas.space.lowering import Placement, lower_unet
from nas.space.plan import Block, Node, PipelinePlan, Plan, Scalar, Shape, TensorSpec, make_block
from nas.space.resolve import check_parts, key_of, pixel_multiple, resolve_candidates, resolve_slots
from nas.space.schema import SpaceFile
from nas.space.slots import Slot
from nas.space.text_layouts import clip_layout, transformers_layout


class SearchSpace(ArchitectureSet):
    """Slots, candidates and the backbone they sit in.

    Args:
        file: The checked content of a search-space file.
        where: The file it came from, for messages and for relative paths.

    Raises:
        ConfigError: A stage, position, candidate or hyper-parameter is impossible.
    """

    def __init__(self, file: SpaceFile, *, where: str | Path = "search space") -> None:
        self.file = file
        try:
            check_parts(file)
            self.candidates = resolve_candidates(file)
            super().__init__(file.name, resolve_slots(file), where)
            # Of the whole space: `without` changes no module's name, and so no weight's.
            self._modules = module_names(self.slots, self.candidates)
            self._check_placements()
        except NasError as error:
            inner = error.what if error.where is None else f"{error.where}: {error.what}"
            raise ConfigError(inner, where=where, hint=error.hint) from error

    @classmethod
    def load(cls, path: str | Path) -> SearchSpace:
        """Read a search space from YAML.

        Raises:
            ConfigError: The file is missing, malformed or describes an impossible space.
        """
        return cls(load_yaml(path, SpaceFile), where=path)

    @classmethod
    def from_dict(cls, value: Any, *, where: str | Path = "search space") -> SearchSpace:
        """Build a search space from plain data; raises as `load` does."""
        return cls(parse(value, SpaceFile, where=where), where=where)

    def to_dict(self) -> dict[str, Any]:
        """The space as plain data, complete but for the folder that relative paths start from.

        It is the file, with the candidates that `without` removed. A removal belongs to a device, not to the space, and
        a model saved with this can be loaded by any copy of the space.
        """
        return self.file.model_dump(mode="json")

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that decides what weights mean: names, shapes, prediction. Checkpoints carry it.

        Two files that mean the same have the same fingerprint; paths do not matter. `without` does not change it:
        weights trained for all candidates serve those that stay.
        """
        slots = resolve_slots(self.file)
        used = sorted({name for slot in slots for name in slot.candidates if name != NONE})
        parts = (self.file.codec, self.file.text, self.file.backbone)
        return fingerprint(
            {
                "name": self.name,
                "prediction": self.file.prediction,
                "frame_embedding": self.file.frame_embedding,
                "video": self.file.video.model_dump(mode="json"),
                "parts": [part.model_dump(mode="json", exclude={"path", "layout", "pretrained"}) for part in parts],
                "slots": [[slot.id, *slot.candidates] for slot in slots],
                "layers": {name: [self.candidates[name].kind, self.candidates[name].config] for name in used},
            }
        )

    @property
    def budgets(self) -> Budgets:
        """What an architecture may cost at most, as the file says."""
        return self.file.budgets

    @property
    def base(self) -> Path:
        """The folder that relative paths inside the file start from."""
        return self.where.parent

    @property
    def outside_paths(self) -> tuple[str, ...]:
        """Paths that the space loads from: pretrained backbone, text encoder, autoencoder."""
        pretrained = self.file.backbone.pretrained
        paths = (None if pretrained is None else self.resolve_path(pretrained), self.text_folder, self.codec_folder)
        return tuple(path for path in paths if path is not None)

    @property
    def text_folder(self) -> str | None:
        """The folder of a text encoder's weights, absolute; `None` for one without."""
        path = getattr(self.file.text, "path", None)
        return None if path is None else self.resolve_path(path)

    @property
    def codec_folder(self) -> str | None:
        """The folder of an autoencoder's weights, absolute; `None` for a codec without."""
        path = getattr(self.file.codec, "path", None)
        return None if path is None else self.resolve_path(path)

    @property
    def pixel_multiple(self) -> int:
        """The number of which height and width of any clip, in pixels, must be multiples."""
        return pixel_multiple(self.file)

    @property
    def latent_shape(self) -> Shape:
        """Shape (frames, channels, height, width) of the latent clip."""
        video, codec = self.file.video, self.file.codec
        return (
            -(-video.frames // codec.temporal_factor),
            codec.latent_channels,
            video.height // codec.spatial_factor,
            video.width // codec.spatial_factor,
        )

    @property
    def context_shape(self) -> Shape:
        """Shape (tokens, width) of the text context."""
        return (self.file.text.tokens, self.file.text.width)

    def lower(self, architecture: Architecture) -> Plan:
        """The plan of the denoising network with these layers."""
        chosen = dict(zip(self.slots, self.check(architecture).choices, strict=True))
        placed = {(slot.stage, slot.position): self.placement(slot, name) for slot, name in chosen.items()}
        return lower_unet(self.file, self.latent_shape, self.context_shape, lambda *place: placed.get(place))

    def lower_pipeline(self, architecture: Architecture) -> PipelinePlan:
        """The plans of the text encoder, the denoising network and the decoder."""
        text, codec, video = self.file.text, self.file.codec, self.file.video
        tokens = TensorSpec("tokens", (1, text.tokens), "int64")
        latent = TensorSpec("latent", (1, *self.latent_shape))
        frames = (1, video.frames, 3, video.height, video.width)
        return PipelinePlan(
            _single("text_encoder", f"text_{text.kind}", self._text(), tokens, (1, *self.context_shape)),
            self.lower(architecture),
            _single("decoder", f"decode_{codec.kind}", self._decoder(), latent, frames),
        )

    @property
    def whole(self) -> SearchSpace:
        """The space with all that `without` has removed."""
        return SearchSpace(self.file, where=self.where) if self.removed else self

    def placed_blocks(self) -> dict[tuple[str, str], Block]:
        """The block of every candidate in every slot, by slot identifier and candidate, without `none`.

        A temporal layer keeps the shape of its input, so the block does not depend on the other slots.
        """
        placed: dict[tuple[str, str], Block] = {}
        for variant in self.covering():
            chosen = dict(zip((slot.id for slot in self.slots), variant.choices, strict=True))
            nodes = self.lower(variant).nodes
            placed |= {(node.slot, chosen[node.slot]): node.block for node in nodes if node.slot is not None}
        return placed

    def placement(self, slot: Slot, name: str) -> Placement | None:
        """What a candidate's name means in a slot; `None` for `none`."""
        if name == NONE:
            return None
        candidate = self.candidates[name]
        return Placement(slot.id, self._modules[slot.id, name], candidate.kind, candidate.config)

    def distinct(self) -> SearchSpace:
        """The space with only the first of the candidates of a slot that compute the same."""
        repeated: dict[str, list[str]] = {}
        for slot in self.slots:
            modules = [self._modules.get((slot.id, name), NONE) for name in slot.candidates]
            repeated[slot.id] = [
                name for place, name in enumerate(slot.candidates) if modules[place] in modules[:place]
            ]
        return self.without(repeated)

    def resolve_path(self, path: str) -> str:
        """A path of the file, made absolute from the file's folder."""
        return os.path.realpath(self.base / path)

    def _text(self) -> dict[str, Scalar]:
        """The settings that decide the arithmetic of the text encoder."""
        text = self.file.text
        if text.kind == "transformers":
            return {"layout": transformers_layout(text, self.text_folder)}
        part = text if text.kind == "learned" else clip_layout(text, self.text_folder)
        return part.model_dump(mode="json", exclude={"kind"})

    def _decoder(self) -> dict[str, Scalar]:
        """The settings that decide the arithmetic of the decoder."""
        codec = self.file.codec
        if codec.kind == "autoencoder":
            return {"layout": autoencoder_layout(codec, self.codec_folder)}
        return codec.model_dump(mode="json", exclude={"kind"})

    def _check_placements(self) -> None:
        """Check every candidate at the width that its slot has in the plans."""
        self.lower(self.smallest())
        for (slot, name), block in self.placed_blocks().items():
            config, channels = layer_config(block.kind).model_validate(block.settings), block.inputs[0].shape[2]
            try:
                config.check(channels)
            except ValueError as error:
                key = key_of(self.file, slot, name)
                raise ConfigError(f"{key}: {name} does not fit slot {slot}: {error}") from error


def lower(space: SearchSpace, architecture: Architecture) -> Plan:
    """The plan of the denoising network of an architecture."""
    return space.lower(architecture)


def _single(name: str, kind: str, config: Mapping[str, Scalar], source: TensorSpec, shape: Shape) -> Plan:
    node = Node(name, make_block(kind, config, (source,), shape), (source.name,))
    return Plan((source,), (node,), name)
