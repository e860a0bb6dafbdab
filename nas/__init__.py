"""nas: hardware-aware search for the temporal layers of video-diffusion models that run on a phone.

The whole pipeline is here as functions on typed objects; each name is loaded when it is first used, so that
`import nas` is cheap::

    import nas

    space = nas.SearchSpace.load("search_spaces/quickstart.yaml")
    table = nas.profile(space, nas.get_runtime("onnxruntime"), "table.csv")
    latency = nas.LatencyPredictor(space, table, steps=4)
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = ["__version__", *_names]  # noqa: PLE0604 - all of them are names
