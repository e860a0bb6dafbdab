"""Training: the flow-matching objective, one loop for all trainers, supernets, single models, distillation."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
