"""Runtimes: the ways to execute a module. Profiling and export share them, so a conversion is written once."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
