"""The four runtimes keep the contract that a runtime of another package must keep."""

from __future__ import annotations

from typing import Any

from nas.testing import RuntimeConformance


class TestTorch(RuntimeConformance):
    name = "torch"


class TestOnnxRuntime(RuntimeConformance):
    name = "onnxruntime"
    options: dict[str, Any] = {"threads": 2}


class TestCoreML(RuntimeConformance):
    name = "coreml"
    tolerance = 1e-2


class TestCoreMLFullPrecision(RuntimeConformance):
    name = "coreml"
    options: dict[str, Any] = {"precision": "fp32", "deployment_target": "iOS17", "compute_unit": "cpu_only"}


class TestCoreAI(RuntimeConformance):
    name = "coreai"
    tolerance = 1e-2


class TestCoreAIFullPrecision(RuntimeConformance):
    name = "coreai"
    options: dict[str, Any] = {"precision": "fp32", "compute_unit": "cpu_only"}
