"""Imports all of nas, with the libraries that its commands load; the processes of tests are forks of this."""

from __future__ import annotations

import importlib
import pkgutil

import onnxruntime  # noqa: F401
import torch.onnx._internal.exporter._core  # noqa: F401
from onnxscript._framework_apis import torch_2_5

import nas
from tests import libraries

for module in pkgutil.walk_packages(nas.__path__, "nas."):
    if module.name != "nas.__main__":
        importlib.import_module(module.name)

libraries.speed_up()
torch_2_5.get_torchlib_ops()  # the descriptions of its functions, which each exporter to ONNX would make
