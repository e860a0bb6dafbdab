"""The temporal layers that may stand in a slot; see `TemporalLayer` for the contract."""

from nas.models.temporal.base import LayerConfig, TemporalLayer, fold_frames, frame_norm, layer_class, zero_init

__all__ = ["LayerConfig", "TemporalLayer", "fold_frames", "frame_norm", "layer_class", "zero_init"]
