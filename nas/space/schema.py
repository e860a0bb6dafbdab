"""The file format of a search space: typed models that a YAML file is checked against.

These classes say what may be written; `nas.space.space.SearchSpace` says what it means.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from nas.files import StrictModel, UserPath
from nas.space.backbone import Backbone
from nas.space.budgets import Budgets

Prediction = Literal["velocity", "data"]

_MOST_PIXELS = 2**31
"""Most pixels of a clip, all frames together: libraries count in 32 bits, and more would not fit in memory."""


class Video(StrictModel):
    """The clip the model makes, in pixels and frames per second."""

    frames: PositiveInt
    height: PositiveInt
    width: PositiveInt
    fps: PositiveFloat

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        pixels = self.frames * self.height * self.width
        if pixels > _MOST_PIXELS:
            raise ValueError(f"expected at most {_MOST_PIXELS:,} pixels in all frames together, got {pixels:,}")
        return self


class IdentityCodec(StrictModel):
    """The model works on pixels."""

    kind: Literal["identity"] = "identity"
    latent_channels: Literal[3] = 3
    spatial_factor: Literal[1] = 1
    temporal_factor: Literal[1] = 1


class SpaceToDepthCodec(StrictModel):
    """Each `factor` x `factor` patch of pixels becomes the channels of one latent pixel; loses nothing."""

    kind: Literal["space_to_depth"]
    factor: Annotated[int, Field(ge=2)]

    @property
    def latent_channels(self) -> int:
        """Channels of the latent: the three colours of each pixel of the patch."""
        return 3 * self.factor**2

    @property
    def spatial_factor(self) -> int:
        """Pixels per latent pixel, along height and along width."""
        return self.factor

    @property
    def temporal_factor(self) -> int:
        """Frames per latent frame."""
        return 1


class AutoencoderCodec(StrictModel):
    """An autoencoder of images or of clips: one of diffusers, or `AutoencoderTinyVideo`.

    Args:
        path: Folder that it was saved to, absolute or relative to the search space's file.
        layout: How it is built: `_class_name` and fields of that class, as in `config.json`. With a layout alone,
            without weights, a pipeline can be counted, measured and converted, but not trained or sampled.
        latent_channels: Channels of its latent.
        spatial_factor: Pixels per latent pixel, along height and along width.
        temporal_factor: Frames per latent frame. An autoencoder that keeps its first frame apart makes
            `temporal_factor * (n - 1) + 1` frames of `n`, any other `temporal_factor * n`.
    """

    kind: Literal["autoencoder"]
    path: UserPath | None = None
    layout: dict[str, Any] | None = None
    latent_channels: PositiveInt
    spatial_factor: PositiveInt
    temporal_factor: PositiveInt = 1

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        _check_known(self.path, self.layout)
        return self


def _check_known(path: str | None, layout: object) -> None:
    if path is None and layout is None:
        raise ValueError("needs a path, or a layout, or both")


Codec = Annotated[IdentityCodec | SpaceToDepthCodec | AutoencoderCodec, Field(discriminator="kind")]


class LearnedText(StrictModel):
    """A small transformer over hashed words, trained together with the model.

    Args:
        tokens: Words kept of a caption; the sequence length of the text context.
        width: Channels of the text context; must equal the backbone's `cross_attention_dim`.
        layers: Transformer layers.
        heads: Attention heads.
        vocabulary: Buckets that words are hashed into.
    """

    kind: Literal["learned"] = "learned"
    tokens: PositiveInt = 16
    width: PositiveInt = 64
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    vocabulary: Annotated[int, Field(ge=16)] = 2048

    @model_validator(mode="after")
    def _heads_divide_width(self) -> LearnedText:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class ClipLayout(StrictModel):
    """How CLIP's text encoder is built: fields of transformers' `CLIPTextConfig`; Stable Diffusion 1.5's by default."""

    vocab_size: PositiveInt = 49408
    hidden_size: PositiveInt = 768
    intermediate_size: PositiveInt = 3072
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    max_position_embeddings: PositiveInt = 77
    hidden_act: str = "quick_gelu"
    layer_norm_eps: PositiveFloat = 1e-5


class ClipText(StrictModel):
    """CLIP's text encoder, frozen (extra `clip`).

    Args:
        path: Folder that transformers saved it to, with its tokenizer; absolute or relative to the space's file.
        layout: How it is built. With a layout alone, a pipeline can be counted, measured and converted, but not
            trained or sampled.
        tokens: Length of the text context.
        width: Channels of the text context.
    """

    kind: Literal["clip"]
    path: UserPath | None = None
    layout: ClipLayout | None = None
    tokens: PositiveInt = 77
    width: PositiveInt = 768

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        _check_known(self.path, self.layout)
        return self


class TransformersText(StrictModel):
    """Any text encoder of transformers but CLIP's, frozen (extra `clip`): like BERT, the encoder of T5, and others.

    Args:
        path: Folder that transformers saved it to, with its tokenizer; absolute or relative to the space's file.
        layout: How it is built: `model_type`, and fields of the `config.json` of that type. With a layout alone, a
            pipeline can be counted, measured and converted, but not trained or sampled.
        tokens: Length of the text context.
        width: Channels of the text context: the encoder's `hidden_size`.
    """

    kind: Literal["transformers"]
    path: UserPath | None = None
    layout: dict[str, Any] | None = None
    tokens: PositiveInt = 77
    width: PositiveInt

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        _check_known(self.path, self.layout)
        return self


Text = Annotated[LearnedText | ClipText | TransformersText, Field(discriminator="kind")]


class SlotRule(StrictModel):
    """Which temporal layers a stage may hold.

    Args:
        stage: `down.N`, `mid` or `up.N`.
        positions: Positions in the stage, counted from 0: position k is after the k-th pair of resnet and
            attention. All positions of the stage if left out.
        candidates: Names from `layers`, names of registered layers (with default hyper-parameters), or `none`.
    """

    stage: str
    positions: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    candidates: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("candidates")
    @classmethod
    def _no_duplicates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = [name for index, name in enumerate(value) if name in value[:index]]
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice")
        return value


class LayerEntry(StrictModel):
    """A named temporal layer: its registered kind, with hyper-parameters of that kind beside it."""

    model_config = ConfigDict(extra="allow")

    kind: str


LayerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Names become parts of module paths and of architecture ids, so they hold no dot, space or slash."""


class SpaceFile(StrictModel):
    """A search space as written in a YAML file.

    Args:
        name: Name of the space; architectures carry it.
        description: For people.
        video: The clip the model makes.
        codec: From latents to pixels.
        text: Encodes the caption.
        prediction: What the backbone predicts: the `velocity`, or the clean `data`, from which the network computes
            the velocity (Li and He 2025, arXiv 2511.13720). Choose `data` if a latent pixel has more channels than
            the first level: noise does not fit through a narrower layer, clean data does.
        frame_embedding: Whether the time embedding also tells each frame its place in the clip, mixed with the text
            if the backbone pools it (`addition_embed_type: text`). It is a small network that starts as the
            identity. With it, the timing of events is learnt sooner.
        backbone: The spatial network.
        layers: Temporal layers by name, with hyper-parameters.
        slots: Which layers each stage may hold.
        budgets: What an architecture may cost at most; options of a search replace them.
    """

    listed_by: ClassVar[str] = "nas space schema"

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str = ""
    video: Video
    codec: Codec = IdentityCodec()
    text: Text = LearnedText()
    prediction: Prediction = "velocity"
    frame_embedding: bool = False
    backbone: Backbone
    layers: dict[LayerName, LayerEntry] = {}
    slots: tuple[SlotRule, ...]
    budgets: Budgets = Budgets()
