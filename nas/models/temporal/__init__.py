"""The temporal layers that may fill a slot; `TemporalLayer` states the contract."""

from nas.models.temporal.base import LayerConfig, TemporalLayer, fold_frames, frame_norm, layer_class, zero_init

__all__ = ["LayerConfig", "TemporalLayer", "fold_frames", "frame_norm", "layer_class", "zero_init"]
