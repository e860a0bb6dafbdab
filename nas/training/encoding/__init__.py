"""Encoding of clips and captions in advance, so that training reads latents."""
