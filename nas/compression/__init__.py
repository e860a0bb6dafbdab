"""Compressed weights: the kinds, and compressing arrays and torch modules. Runtimes compress files the same way."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
