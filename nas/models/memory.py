"""The memory that a network's program needs on a device, estimated: nothing here was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nas.compression import weight_format
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
        factor: By how much more memory a program takes than its weights and the values between blocks.
    """

    weights: str = "fp32"
    bytes_per_value: int = BYTES_PER_VALUE
    factor: float = 1.0

    def memory_bytes(self, plan: Plan) -> int:
        """Memory of a network at the peak of one call: its weights as they are stored, and the values alive."""
        weights = sum(_weight_bytes(node.block, self.weights) for node in plan.nodes)
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


@lru_cache(maxsize=4096)
def _weight_bytes(block: Block, kind: str) -> int:
    form = weight_format(kind)
    module, _ = abstract_block(block)
    return sum(form.stored_bits(tuple(parameter.shape)) for parameter in module.parameters()) // 8
