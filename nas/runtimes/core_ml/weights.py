"""Compressed weights of Core ML models, made in the conversion or afterwards, both by coremltools.

The values are those of `nas.compression.compress_module`: palettes come from the same function, and for `int8` both
compute the same in fp16. A tensor that the converter has split or merged is compressed as it is in the model.
"""

from __future__ import annotations

from typing import Any

from nas.compression import CompressedKind, WeightFormat, weight_format
from nas.compression.arrays import palette
from nas.compression.kinds import LARGEST_PLAIN
from nas.runtimes.core_ml.runtime import import_coremltools


def compressing_pipeline(kind: CompressedKind | None) -> Any:
    """The passes of a conversion that ends with compressing the weights; the usual ones without a kind.

    Compressing a model afterwards runs all other passes a second time: it takes twice as long, and checks the indices
    of lookups twice.

    Raises:
        RuntimeUnavailableError: coremltools is not installed.
    """
    tools = import_coremltools()
    pipeline = tools.PassPipeline()
    if kind is not None:
        name = "palettize_weights" if weight_format(kind).palettized else "linear_quantize_weights"
        pipeline.append_pass(f"compression::{name}")
        pipeline.set_options(f"compression::{name}", {"config": _config(weight_format(kind))})
    return pipeline


def compress_model(model: Any, kind: CompressedKind) -> Any:
    """A converted Core ML model with compressed weights.

    Args:
        model: What `coremltools.convert` returned, or `MLModel(path, skip_model_load=True)`; it stays as it is.
        kind: The kind of weights.

    Raises:
        CheckpointError: A weight is too large for fp16.
        RuntimeUnavailableError: coremltools is not installed.
    """
    import_coremltools()
    from coremltools.optimize import coreml

    form = weight_format(kind)
    compress = coreml.palettize_weights if form.palettized else coreml.linear_quantize_weights
    return compress(model, _config(form))


def _config(form: WeightFormat) -> Any:
    """What coremltools is told to do with all larger weights."""
    from coremltools.optimize import coreml

    if form.palettized:
        # It makes a palette for each tensor, or for each group of channels.
        each: Any = coreml.OpPalettizerConfig(
            mode="custom",
            lut_function=lambda values: palette(values, form.bits),
            granularity="per_tensor" if form.group_size is None else "per_grouped_channel",
            group_size=form.group_size or 32,
            weight_threshold=LARGEST_PLAIN,
        )
    else:
        each = coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int8", granularity="per_channel", weight_threshold=LARGEST_PLAIN
        )
    return coreml.OptimizationConfig(global_config=each)
