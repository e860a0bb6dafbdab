"""The programs that a network is converted to: one, or two that run in a row.

Values have names: a program reads those of the network's inputs, and those that the program before it has written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from nas.export.writing.chunks import best_cut
from nas.export.writing.parts import ModelPart
from nas.models.network import Mounted, NetworkPart
from nas.runtimes.base import output_names
from nas.runtimes.conversion import evaluating
from nas.runtimes.signature import Signature, TensorType
from nas.space.fragments import Cut


@dataclass(frozen=True)
class Program:
    """A module that becomes one file.

    Args:
        name: Name of the file, without its suffix.
        module: The module.
        inputs: Names of the values it reads.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values it writes."""
        return output_names(self.module)


@dataclass(frozen=True)
class Programs:
    """All programs of a network.

    Args:
        part: The network.
        programs: The programs, in the order in which they run.
    """

    part: ModelPart
    programs: tuple[Program, ...]

    @classmethod
    def whole(cls, part: ModelPart) -> Programs:
        """The network in one program."""
        return cls(part, (Program(part.name, part.module, tuple(spec.name for spec in part.plan.inputs)),))

    @classmethod
    def in_two(cls, part: ModelPart, kind: str) -> Programs:
        """The network in two programs; raises as `nas.export.writing.chunks.best_cut`.

        Args:
            part: The network.
            kind: Kind of its weights in the files.
        """
        assert isinstance(part.module, Mounted)
        cut = best_cut(part.plan, part.module, kind)
        crossing = {_outside(spec.name): spec.name for spec in cut.crossing}
        modules = (
            NetworkPart(part.module, cut.before, crossing),
            NetworkPart(part.module, cut.after, {"output": cut.after.output}),
        )
        return cls(part, tuple(_program(part, number, module, cut) for number, module in enumerate(modules, start=1)))

    @cached_property
    def values(self) -> tuple[dict[str, torch.Tensor], ...]:
        """For each call to compare on, all values that the programs read and write, as torch computes them."""
        return tuple(map(self._computed, self.part.inputs))

    def signature(self, program: Program) -> Signature:
        """Inputs and outputs of a program as torch has them; a converted file may have other types."""
        values = self.values[0]
        inputs, outputs = (
            tuple(_tensor_type(name, values[name]) for name in names) for names in (program.inputs, program.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs)

    def _computed(self, inputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        values = dict(zip((spec.name for spec in self.part.plan.inputs), inputs, strict=True))
        for program in self.programs:
            with evaluating(program.module) as module:
                made = module(*(values[name] for name in program.inputs))
            values |= zip(program.outputs, made if isinstance(made, tuple) else (made,), strict=True)
        return values


def _program(part: ModelPart, number: int, module: NetworkPart, cut: Cut) -> Program:
    inputs = (cut.before, cut.after)[number - 1].inputs
    return Program(f"{part.name}_{number}", module, tuple(_outside(spec.name) for spec in inputs))


def _outside(name: str) -> str:
    """A value's name in a file: Core ML takes letters, digits and underscores."""
    return name.replace(".", "_")


def _tensor_type(name: str, tensor: torch.Tensor) -> TensorType:
    return TensorType(name=name, shape=tuple(tensor.shape), dtype="int64" if tensor.dtype == torch.int64 else "float32")
