"""The memory that a network's program needs on a device, estimated: nothing here was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from torch import nn

from nas.compression import WeightFormat, weight_format
from nas.models.costs import NetworkCost, abstract_block, network_cost
from nas.space import Architecture, Block, Plan, SearchSpace
from nas.space.plan import BYTES_PER_VALUE

CORE_ML_FACTOR = 2.6 / 2.1
"""Memory of an app over the weights of its networks: Stable Diffusion with Core ML, 2.6 GB at its peak, 2.1 GB of them
weights in fp16. It is the only figure that is published with both parts (apple/ml-stable-diffusion, README)."""


@dataclass(frozen=True)
class ProgramForm:
    """The form in which a program holds a network.

    Args:
        weights: Kind of weights, see `nas.compression`.
        bytes_per_value: Bytes of a value between blocks.
        factor: By how much more memory a program takes than its weights, its tables and the values between blocks.
    """

    weights: str = "fp32"
    bytes_per_value: int = BYTES_PER_VALUE
    factor: float = 1.0

    def memory_bytes(self, plan: Plan) -> int:
        """Memory of a network at the peak of one call: weights and tables as they are stored, and the values alive."""
        weights = sum(_stored_bytes(node.block, self.weights) for node in plan.nodes)
        values = plan.peak_activation_bytes() * self.bytes_per_value // BYTES_PER_VALUE
        return round(self.factor * (weights + values))


@dataclass(frozen=True)
class ProgramCost(NetworkCost):
    """Cost of a network with the memory that its program needs.

    Args:
        memory_bytes: Estimated memory at the peak of a call; of several forms, the most.
    """

    memory_bytes: int


def program_costs(space: SearchSpace, forms: Sequence[ProgramForm]) -> Callable[[Architecture], ProgramCost]:
    """A cost model of the denoising networks of a space, in the forms that they are executed in.

    Args:
        space: The search space.
        forms: The forms; at least one.
    """

    def cost(architecture: Architecture) -> ProgramCost:
        plan = space.lower(architecture)
        known = network_cost(plan)
        most = max(form.memory_bytes(plan) for form in forms)
        return ProgramCost(known.parameters, known.macs, known.peak_activation_bytes, most)

    return cost


def stored_bytes(module: nn.Module, form: WeightFormat) -> int:
    """Bytes that a module's weights take in a program, with its constants, such as tables of positions.

    Attention over all pixels of all frames has a value for each token and channel in its table, many times its weights.

    Args:
        module: The module, on any device.
        form: How weights are stored; converters store large constants alike.
    """
    constants = (buffer for buffer in module.buffers() if buffer.is_floating_point())
    return sum(form.stored_bits(tuple(tensor.shape)) for tensor in (*module.parameters(), *constants)) // 8


@lru_cache(maxsize=4096)
def _stored_bytes(block: Block, kind: str) -> int:
    return stored_bytes(abstract_block(block)[0], weight_format(kind))
