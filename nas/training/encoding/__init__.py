"""Encoding clips and captions once, beforehand, so that training reads latents."""

from nas.training.encoding.job import EncodingJob
from nas.training.encoding.manifest import make_manifest
from nas.training.encoding.workers import EncodingRequest, EncodingSettings, encode_clips

__all__ = ["EncodingJob", "EncodingRequest", "EncodingSettings", "encode_clips", "make_manifest"]
