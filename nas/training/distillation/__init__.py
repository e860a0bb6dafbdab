"""Distillation to a few steps without guidance: targets, the discriminator's phase, and watching over both."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
