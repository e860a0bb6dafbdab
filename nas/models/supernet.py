"""The supernet: one set of weights for every candidate of every slot, and so for any architecture.

Shape suffixes as in `nas.models.network`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

import torch
from torch import nn

from nas.models.network import Mounted, VideoUNet, execute
from nas.models.pretrained import load_pretrained
from nas.space import Architecture, Node, Plan, SearchSpace


class SuperNet(Mounted):
    """A network with all candidates; it runs one architecture at a time.

    Modules have the names of their nodes in any plan. So running an architecture is executing its plan, and extracting
    it is building its plan's network and copying the weights of the same names. Candidates of a slot that compute the
    same share one module, implemented as the first of them.

    Args:
        space: The search space. Its `backbone.pretrained` is loaded if there is one.

    Raises:
        CheckpointError: The pretrained backbone does not fit.
    """

    def __init__(self, space: SearchSpace) -> None:
        nodes: dict[str, Node] = {}
        for variant in space.covering():
            for node in space.lower(variant).nodes:
                nodes.setdefault(node.name, node)
        super().__init__(nodes.values())
        self.space = space
        self._temporal = tuple(name for name, node in nodes.items() if node.slot is not None)
        self.distinct_space = space.distinct()
        """The space with one implementation of each layer: every function that the supernet has."""
        self._plan = lru_cache(maxsize=4096)(space.lower)
        if space.file.backbone.pretrained is not None:
            load_pretrained(self, space, space.resolve_path(space.file.backbone.pretrained))

    def plan(self, architecture: Architecture) -> Plan:
        """The plan of an architecture, cached."""
        return self._plan(architecture)

    def temporal_parameters(self) -> list[nn.Parameter]:
        """Parameters of all candidates, without the backbone."""
        return [parameter for name in self._temporal for parameter in self.get_submodule(name).parameters()]

    def forward(
        self,
        sample_BTCHW: torch.Tensor,
        timestep_B: torch.Tensor,
        context_BLD: torch.Tensor,
        architecture: Architecture,
        skipped: Collection[str] = (),
    ) -> torch.Tensor:
        """Predict the velocity with one architecture's layers, without the skipped ones.

        The tensors are those of `VideoUNet.forward`; `skipped` is that of `execute`.
        """
        plan = self.plan(architecture)
        names = (spec.name for spec in plan.inputs)
        return execute(plan, self, dict(zip(names, (sample_BTCHW, timestep_B, context_BLD), strict=True)), skipped)

    def extract(self, architecture: Architecture) -> VideoUNet:
        """A stand-alone copy of one architecture with the supernet's weights.

        Its output is bit-identical, or equal up to float rounding if the architecture names another implementation of a
        layer than the supernet runs.
        """
        network = VideoUNet(self.plan(architecture)).to(next(self.parameters()).device)
        weights = self.state_dict()
        network.load_state_dict({name: weights[name] for name in network.state_dict()})
        return network.train(self.training)
