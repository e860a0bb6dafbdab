"""From a search-space file to slots and candidates, with every check that needs no plan.

Each error names the key of the file that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping

from nas.errors import ConfigError
from nas.files import parse
from nas.space.implementations import settings_of
from nas.space.layers import NONE, layer_config, layer_kinds
from nas.space.lowering import stage_positions
from nas.space.schema import LayerEntry, SlotRule, SpaceFile
from nas.space.slots import Candidate, Slot

# fmt: off
NAMES_OF_MODULES = frozenset({
    "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu", "cuda", "double",
    "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state", "get_parameter",
    "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers", "named_children",
    "named_modules", "named_parameters", "parameters", "register_backward_hook", "register_buffer",
    "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
    "register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook",
    "register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook",
    "requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train",
    "training", "type", "xpu", "zero_grad",
})
# fmt: on
"""Attributes of every torch module, which no submodule may be called."""


def pixel_multiple(file: SpaceFile) -> int:
    """What height and width of a clip, in pixels, must be multiples of: the codec and each level divide them."""
    halvings = len(file.backbone.block_out_channels) - 1
    return file.codec.spatial_factor << halvings


def check_parts(file: SpaceFile) -> None:
    """Check that video, codec, text encoder and backbone fit each other.

    Raises:
        ConfigError: A size or a number of channels does not.
    """
    video, codec, backbone = file.video, file.codec, file.backbone
    halvings = len(backbone.block_out_channels) - 1
    multiple = pixel_multiple(file)
    for name, size in (("height", video.height), ("width", video.width)):
        if size % multiple:
            why = f"the codec's factor {codec.spatial_factor}, and {halvings} halvings in the backbone"
            raise ConfigError(f"video.{name}: expected a multiple of {multiple} ({why}), got {size}")
    for name, given in (("in_channels", backbone.in_channels), ("out_channels", backbone.out_channels)):
        if given is not None and given != codec.latent_channels:
            raise ConfigError(
                f"backbone.{name}: expected {codec.latent_channels}, the channels of the codec's latent, got {given}",
                hint="leave it out to take the codec's",
            )
    if backbone.cross_attention_dim != file.text.width:
        raise ConfigError(
            f"backbone.cross_attention_dim: expected {file.text.width}, which is text.width, "
            f"got {backbone.cross_attention_dim}"
        )


def resolve_candidates(file: SpaceFile) -> dict[str, Candidate]:
    """Every layer that `layers` defines or a slot names, by name.

    Raises:
        ConfigError: A layer is unknown, or its name or a hyper-parameter is impossible.
    """
    candidates = {name: _defined(name, entry) for name, entry in file.layers.items()}
    for index, rule in enumerate(file.slots):
        for place, name in enumerate(rule.candidates):
            if name != NONE and name not in candidates:
                if name not in layer_kinds():
                    known = ", ".join(dict.fromkeys([NONE, *file.layers, *layer_kinds()]))
                    raise ConfigError(f"slots[{index}].candidates[{place}]: unknown layer {name!r} (known: {known})")
                candidates[name] = Candidate(name, name, settings_of(layer_config(name)()))
    return candidates


def resolve_slots(file: SpaceFile) -> tuple[Slot, ...]:
    """The slots in the order of the network.

    Raises:
        ConfigError: A stage or position does not exist in the backbone, or is given twice.
    """
    stages, slots = stage_positions(file.backbone), dict[tuple[str, int], Slot]()
    for index, rule in enumerate(file.slots):
        for position in _positions(index, rule, stages):
            if (rule.stage, position) in slots:
                raise ConfigError(f"slots[{index}]: position {position} of {rule.stage} is a slot already")
            slots[rule.stage, position] = Slot(rule.stage, position, rule.candidates)
    order = list(stages)
    return tuple(sorted(slots.values(), key=lambda slot: (order.index(slot.stage), slot.position)))


def key_of(file: SpaceFile, slot: str, candidate: str) -> str:
    """The key of the file that lets a slot hold a candidate, e.g. `slots[2].candidates[1]`."""
    stages = stage_positions(file.backbone)
    for index, rule in enumerate(file.slots):
        if any(f"{rule.stage}/{position}" == slot for position in _positions(index, rule, stages)):
            return f"slots[{index}].candidates[{rule.candidates.index(candidate)}]"
    raise KeyError(slot)


def _positions(index: int, rule: SlotRule, stages: Mapping[str, int]) -> tuple[int, ...]:
    if rule.stage not in stages:
        known = ", ".join(stages)
        raise ConfigError(f"slots[{index}].stage: the backbone has no stage {rule.stage!r} (known: {known})")
    existing = tuple(range(stages[rule.stage]))
    for place, position in enumerate(rule.positions or ()):
        if position not in existing:
            known = ", ".join(map(str, existing))
            raise ConfigError(
                f"slots[{index}].positions[{place}]: {rule.stage} has no position {position} (known: {known})"
            )
    return existing if rule.positions is None else rule.positions


def _defined(name: str, entry: LayerEntry) -> Candidate:
    if name == NONE:
        raise ConfigError("layers.none: `none` means an empty slot and cannot be redefined")
    if name in NAMES_OF_MODULES:
        raise ConfigError(f"layers.{name}: the name is taken by torch's modules", hint="choose another")
    if entry.kind not in layer_kinds():
        raise ConfigError(f"layers.{name}.kind: unknown layer {entry.kind!r} (known: {', '.join(layer_kinds())})")
    config = parse(dict(entry.model_extra or {}), layer_config(entry.kind), where=None, within=f"layers.{name}")
    return Candidate(name, entry.kind, settings_of(config))
