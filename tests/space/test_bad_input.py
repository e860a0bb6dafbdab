"""Every mistake in a search-space file ends in one line that names file, key and what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nas.errors import ConfigError
from nas.files import write_yaml
from nas.space import SearchSpace, layer_kinds
from tests.space.spaces import tiny

DELETE = object()


def _message(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        SearchSpace.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def _changed(key: str, new: Any) -> dict[str, Any]:
    """The small space with the value at a key such as `slots/0/stage` replaced, added or deleted."""
    value = tiny()
    *parents, last = [int(part) if part.isdecimal() else part for part in key.split("/")]
    part: Any = value
    for parent in parents:
        part = part[parent]
    if new is DELETE:
        del part[last]
    else:
        part[last] = new
    return value


CASES: list[tuple[str, Any, str]] = [
    # unknown keys, at each level
    ("framez", 1, "unknown key framez (did you mean name? known: name, frame_embedding, "),
    (
        "slotz",
        1,
        "unknown key slotz (did you mean slots? known: slots, description, text, video, "
        "codec, and 6 more, see `nas space schema`)",
    ),
    ("video/framez", 1, "unknown key video.framez (did you mean frames? known: frames, height, width, fps)"),
    ("codec/fctor", 2, "unknown key codec.fctor (did you mean factor? known: kind, factor)"),
    ("text/size", 2, "unknown key text.size (known: kind, tokens, width, layers, heads, vocabulary)"),
    (
        "backbone/block_channels",
        1,
        "unknown key backbone.block_channels (did you mean block_out_channels? known: block_",
    ),
    (
        "layers/wide/kernel",
        3,
        "unknown key layers.wide.kernel (did you mean kernel_size? known: depth, ",
    ),
    ("slots/1/candidate", [], "unknown key slots[1].candidate (did you mean candidates? known: stage, positions, cand"),
    # missing keys
    ("video/frames", DELETE, "key video.frames is missing"),
    ("backbone", DELETE, "key backbone is missing"),
    ("codec/kind", DELETE, "key codec.kind is missing"),
    ("layers/wide/kind", DELETE, "key layers.wide.kind is missing"),
    ("slots/0/stage", DELETE, "key slots[0].stage is missing"),
    # wrong types and values
    ("name", "Two Words", "name: expected a name that matches ^[a-z0-9][a-z0-9_-]*$; got 'Two Words'"),
    ("name", 1, "name: expected a text; got 1"),
    ("video", 3, "video: expected a mapping of keys; got 3"),
    ("video/frames", "many", "video.frames: expected a whole number; got 'many'"),
    ("video/frames", 0, "video.frames: expected more than 0; got 0"),
    ("video/fps", "fast", "video.fps: expected a number; got 'fast'"),
    ("prediction", "noise", "prediction: expected 'velocity' or 'data'; got 'noise'"),
    ("video/height", 100_000_000, "video: expected at most 2,147,483,648 pixels in all frames together, got "),
    ("codec", "identity", "codec: expected a mapping of keys; got 'identity'"),
    ("codec/kind", "jpeg", "codec.kind: expected one of identity, space_to_depth, autoencoder; got 'jpeg'"),
    ("codec/factor", 1, "codec.factor: expected at least 2; got 1"),
    ("text/kind", "bert", "text.kind: expected one of learned, clip, transformers; got 'bert'"),
    ("backbone/act_fn", "tanh", "backbone.act_fn: expected 'silu', 'swish', 'mish', 'gelu' or 'relu'; got 'tanh'"),
    ("backbone/layers_per_block", "two", "backbone.layers_per_block: expected a whole number or a list; got 'two'"),
    ("backbone/layers_per_block", [1, "two"], "backbone.layers_per_block[1]: expected a whole number; got 'two'"),
    ("backbone/dropout", 1, "backbone.dropout: expected less than 1.0; got 1"),
    ("backbone/downsample_padding", 2, "backbone.downsample_padding: expected 0 or 1; got 2"),
    (
        "backbone/down_block_types/0",
        "AttnDownBlock2D",
        "backbone.down_block_types[0]: expected 'CrossAttnDownBlock2D' ",
    ),
    (
        "backbone/class_embed_type",
        "timestep",
        "backbone: class_embed_type 'timestep' is not implemented, only diffusers",
    ),
    ("slots", {}, "slots: expected a list; got {}"),
    ("slots/0/candidates", "none", "slots[0].candidates: expected a list; got 'none'"),
    # numbers that do not fit together
    ("text/heads", 3, "text: width 16 is not divisible by heads 3"),
    ("text/width", 32, "backbone.cross_attention_dim: expected 32, which is text.width, got 16"),
    ("backbone/attention_head_dim", 5, "backbone: 32 channels are not divisible by 5 heads (attention_head_dim)"),
    (
        "backbone/addition_embed_type",
        "text",
        "backbone: cross_attention_dim 16 is not divisible by addition_embed_type_n",
    ),
    ("backbone/norm_num_groups", 32, "backbone: 16 channels are not divisible by norm_num_groups 32"),
    ("backbone/block_out_channels", [16], "backbone: down_block_types has 2 entries, block_out_channels has 1"),
    ("backbone/up_block_types", ["UpBlock2D"], "backbone: up_block_types has 1 entries, block_out_channels has 2"),
    ("backbone/layers_per_block", [1, 1, 1], "backbone: layers_per_block has 3 entries, block_out_channels has 2"),
    (
        "backbone/in_channels",
        4,
        "backbone.in_channels: expected 12, the channels of the codec's latent, got 4; leave it",
    ),
    ("backbone/out_channels", 3, "backbone.out_channels: expected 12, the channels of the codec's latent, got 3"),
    (
        "video/height",
        7,
        "video.height: expected a multiple of 4 (the codec's factor 2, and 1 halvings in the backbone), ",
    ),
    (
        "video/width",
        18,
        "video.width: expected a multiple of 4 (the codec's factor 2, and 1 halvings in the backbone), ",
    ),
    # layers
    ("layers/none", {"kind": "conv1d"}, "layers.none: `none` means an empty slot and cannot be redefined"),
    ("layers/a.b", {"kind": "conv1d"}, "layers.a.b: expected a name that matches ^[a-z][a-z0-9_]*$; got 'a.b'"),
    ("layers/eval", {"kind": "conv1d"}, "layers.eval: the name is taken by torch's modules; choose another"),
    (
        "layers/wide",
        {"kind": "conv4d"},
        "layers.wide.kind: unknown layer 'conv4d' (known: conv1d, separable_conv1d, bottleneck_conv1d, con",
    ),
    ("layers/wide/kernel_size", 4, "layers.wide.kernel_size: must be odd to keep the number of frames, got 4"),
    ("layers/wide/kernel_size", -1, "layers.wide.kernel_size: expected at least 1; got -1"),
    ("layers/wide/kernel_size", "big", "layers.wide.kernel_size: expected a whole number; got 'big'"),
    ("layers/wide/form", "conv1d", "layers.wide.form: expected 'conv2d' or 'conv3d'; got 'conv1d'"),
    (
        "layers/wide",
        {"kind": "self_attention_1d", "form": "split"},
        "layers.wide.form: expected 'native', 'matmul' or 'split_heads'; got 'split'",
    ),
    (
        "layers/wide",
        {"kind": "shared_attention_1d", "form": "native"},
        "unknown key layers.wide.form (known: depth, heads)",
    ),
    (
        "layers/wide",
        {"kind": "self_attention_1d", "heads": 3},
        "slots[0].candidates[2]: wide does not fit slot down.0/0: 16 ",
    ),
    # slots
    (
        "slots/0/stage",
        "down.2",
        "slots[0].stage: the backbone has no stage 'down.2' (known: down.0, down.1, mid, up.0, ",
    ),
    ("slots/2/positions", [1, 2], "slots[2].positions[1]: up.0 has no position 2 (known: 0, 1)"),
    ("slots/2/positions", [-1], "slots[2].positions[0]: expected at least 0; got -1"),
    ("slots/2/positions", [], "slots[2].positions: expected at least 1 entries; got []"),
    ("slots/2/positions", [1, 1], "slots[2]: position 1 of up.0 is a slot already"),
    ("slots/1/stage", "down.0", "slots[1]: position 0 of down.0 is a slot already"),
    ("slots/1/candidates", [], "slots[1].candidates: expected at least 1 entries; got []"),
    ("slots/1/candidates", ["none", "conv1d", "none"], "slots[1].candidates: 'none' is listed twice"),
    (
        "slots/1/candidates",
        ["conv1d", "conv4d"],
        "slots[1].candidates[1]: unknown layer 'conv4d' (known: none, wide, co",
    ),
    ("slots/1/candidates", [None], "slots[1].candidates[0]: expected a text; got None"),
]


@pytest.mark.parametrize(("key", "value", "expected"), CASES)
def test_wrong_keys_and_values(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    path = tmp_path / "space.yaml"
    write_yaml(path, _changed(key, value))
    assert _message(path).startswith(expected)


def test_unknown_layer_lists_every_known_one_once(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    write_yaml(path, _changed("slots/1/candidates", ["conv4d"]))
    known = _message(path).partition("known: ")[2].removesuffix(")").split(", ")
    assert known[:2] == ["none", "wide"]
    assert len(known) == len(set(known)) == 2 + len(layer_kinds())


def test_the_unknown_key_is_said_before_the_missing_one_and_the_rest_is_counted(tmp_path: Path) -> None:
    value = _changed("video/frames", DELETE)
    value["video"] |= {"frame": 3, "fps": 0}
    path = tmp_path / "space.yaml"
    write_yaml(path, value)
    assert _message(path).startswith("unknown key video.frame (did you mean frames?")
    assert _message(path).endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: [1, 2\nvideo: 3", "not YAML: line 2, column 6: while parsing a flow sequence: expected ',' or ']'"),
        ("name: a\n  video: b", "not YAML: line 2, column 8: mapping values are not allowed here"),
        ("\tname: a", "not YAML: line 1, column 1: while scanning for the next token: found character '\\t'"),
        ("name: a\nslots: []\nname: b", "not YAML: line 3, column 1: key 'name' is given twice"),
        ("video: {fps: 1, fps: 2}", "not YAML: line 1, column 17: key 'fps' is given twice"),
        ("name: !!python/object/apply:os.getcwd []", "not YAML: line 1, column 7: the tag !!python/object/a"),
        ("name: *missing", "not YAML: line 1, column 7: found undefined alias 'missing'"),
        ("name: a\n---\nname: b", "not YAML: line 2, column 1: expected a single document"),
        ("name: a\x00", "not YAML: unacceptable character"),
        ("[" * 600, "not YAML: it is nested too deeply"),
        ("", "expected a mapping of keys, got nothing"),
        ("- name", "expected a mapping of keys, got list"),
        ("1: 2", "unknown key [1] (known: name"),
    ],
)
def test_malformed_yaml(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert _message(path).startswith(expected)


def test_unreadable_files(tmp_path: Path) -> None:
    assert _message(tmp_path / "absent.yaml") == "no such file"
    assert _message(tmp_path) == "is a folder, where a file is needed"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    assert _message(binary).startswith("cannot be read as text")
