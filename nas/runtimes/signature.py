"""What a converted network is called with, and what it returns, as its file says."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from nas.files import StrictModel

TensorKind = Literal["float32", "float16", "int64", "int32"]


class TensorType(StrictModel):
    """Name, shape and type of a tensor.

    Args:
        name: Its name in the file.
        shape: Its shape; dimensions are fixed.
        dtype: Type of its elements.
    """

    name: str
    shape: tuple[NonNegativeInt, ...]
    dtype: TensorKind

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} {'x'.join(map(str, self.shape))}"


class Signature(StrictModel):
    """The inputs and outputs of a converted network.

    Args:
        inputs: In the order of the network's arguments.
        outputs: In the order of what it returns.
    """

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
