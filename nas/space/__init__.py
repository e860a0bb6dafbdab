"""Search spaces, architectures, and the plan that an architecture is lowered to."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
