"""Distillation to a few denoising steps without guidance: targets, the discriminator, and keeping the best student."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
