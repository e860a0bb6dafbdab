"""iPhones that are connected to this Mac, through Xcode's tools and coremltools' client.

coremltools is not imported before a phone is used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
