"""The denoising network of one architecture, built and run from its plan.

Shape suffixes: B clips, T frames, C channels, H height, W width, L text tokens, D text width.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from nas.errors import CheckpointError
from nas.models.blocks import build_module
from nas.models.weights import load_into
from nas.space import Node, Plan
from nas.space.fragments import down_path

BlockCall = Callable[..., torch.Tensor]
"""How the module of a block is called: with the module, then its inputs."""


def mount(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` at a dotted path below `root`, making the folders in between."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in root._modules:
            root.add_module(parent, nn.Module())
        root = root.get_submodule(parent)
    root.add_module(name, module)


def call_block(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """Call a block, and keep everything that its backward pass needs."""
    return module(*inputs)  # type: ignore[no-any-return]


def call_block_again(module: nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    """Call a block, and keep only its inputs; the backward pass calls it again.

    Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174), with a block as the unit.
    """
    if not torch.is_grad_enabled():
        return call_block(module, *inputs)
    return checkpoint(module, *inputs, use_reentrant=False)  # type: ignore[no-any-return]


class Mounted(nn.Module):
    """Modules mounted at the names of their nodes in plans, so that plans can run on them.

    Args:
        nodes: What to build.
    """

    def __init__(self, nodes: Iterable[Node]) -> None:
        super().__init__()
        self.call: BlockCall = call_block
        """How blocks are called; `call_block_again` uses more time and less memory."""
        built = {node.name: build_module(node.block) for node in nodes}
        self.names = tuple(built)
        for name, module in built.items():
            mount(self, name, module)

    def blocks(self) -> tuple[nn.Module, ...]:
        """The mounted modules, in the order of the nodes."""
        return tuple(self.get_submodule(name) for name in self.names)


def execute(
    plan: Plan, root: Mounted, inputs: Mapping[str, torch.Tensor], skipped: Collection[str] = ()
) -> torch.Tensor:
    """Run a plan on the modules mounted below `root` at its nodes' names.

    Args:
        plan: What to run.
        root: Holds the modules, and says how they are called.
        inputs: By name.
        skipped: Names of temporal layers to skip. The first input of a skipped layer, which has the same shape, is its
            output.
    """
    (output,) = evaluate(plan, root, inputs, (plan.output,), skipped)
    return output


def evaluate(
    plan: Plan,
    root: Mounted,
    inputs: Mapping[str, torch.Tensor],
    wanted: Sequence[str],
    skipped: Collection[str] = (),
) -> tuple[torch.Tensor, ...]:
    """Run a plan as `execute` does, and return the values of some of its nodes; others are freed after use."""
    values = dict(inputs)
    for node, freed in plan.schedule:
        if node.name in skipped:
            values[node.name] = values[node.inputs[0]]
        else:
            values[node.name] = root.call(root.get_submodule(node.name), *(values[name] for name in node.inputs))
        for name in freed:
            if name not in wanted:
                del values[name]
    return tuple(values[name] for name in wanted)


class _Planned(Mounted):
    """Modules mounted as a plan says."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.nodes)
        self.plan = plan

    def run(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Execute the plan on its inputs, in their order."""
        names = (spec.name for spec in self.plan.inputs)
        return execute(self.plan, self, dict(zip(names, inputs, strict=True)))


def recompute_blocks(module: nn.Module) -> None:
    """Let all networks in a module recompute their blocks in the backward pass, to save memory."""
    for part in module.modules():
        if isinstance(part, Mounted):
            part.call = call_block_again


class PlanModule(_Planned):
    """The module of any plan, for example of a fragment of a network.

    Args:
        plan: What to build.
    """

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Run the plan on its inputs, in their order."""
        return self.run(*inputs)


class NetworkPart(Mounted):
    """Some nodes of a network as a module, with the network's own weights.

    Args:
        network: The network.
        plan: The nodes.
        outputs: The values to return, by the names that they have outside; one or more.
    """

    def __init__(self, network: Mounted, plan: Plan, outputs: Mapping[str, str]) -> None:
        super().__init__(())
        self.plan, self.output_names, self.wanted = plan, tuple(outputs), tuple(outputs.values())
        self.names = tuple(node.name for node in plan.nodes)
        for name in self.names:
            mount(self, name, network.get_submodule(name))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The outputs, on the plan's inputs in their order."""
        given = dict(zip((spec.name for spec in self.plan.inputs), inputs, strict=True))
        return evaluate(self.plan, self, given, self.wanted)


class VideoUNet(_Planned):
    """The stand-alone network of one architecture.

    Spatial parameters carry diffusers' names: a state dict of `UNet2DConditionModel` loads through
    `load_spatial`, and with no temporal layers and one frame the outputs are equal.

    Args:
        plan: What to build, from `nas.space.lower`.
    """

    def forward(self, sample_BTCHW: torch.Tensor, timestep_B: torch.Tensor, context_BLD: torch.Tensor) -> torch.Tensor:
        """Predict the velocity.

        Args:
            sample_BTCHW: Noisy latents.
            timestep_B: Noise level times 1000, in [0, 1000].
            context_BLD: Encoded captions.

        Returns:
            Velocity, in the shape of the sample.
        """
        return self.run(sample_BTCHW, timestep_B, context_BLD)


class DownPath:
    """The part of a network up to the end of its down path, which computes the features of each level.

    Args:
        plan: Plan of the network.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.levels = down_path(plan)
        self._inputs = tuple(spec.name for spec in plan.inputs)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape (1, T, C, H, W) of each level's features."""
        shapes = {node.name: node.block.output_shape for node in self.plan.nodes}
        return tuple(shapes[name] for name in self.levels)

    def __call__(self, unet: VideoUNet, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Features (B, T, C, H, W) of each level; inputs as in `VideoUNet.forward`."""
        return evaluate(self.plan, unet, dict(zip(self._inputs, inputs, strict=True)), self.levels)


def spatial_names(plan: Plan, module: nn.Module) -> set[str]:
    """Names in `module`'s state dict that belong to the backbone, which are diffusers' names."""
    prefixes = [node.name + "." for node in plan.nodes if node.in_backbone]
    return {name for name in module.state_dict() if any(name.startswith(prefix) for prefix in prefixes)}


def freeze_backbone(module: nn.Module, plan: Plan) -> None:
    """Exclude the backbone of a network or supernet from training; only temporal layers train.

    Args:
        module: The network or supernet.
        plan: A plan of it.
    """
    names = spatial_names(plan, module)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in names)


def load_spatial(module: nn.Module, plan: Plan, weights: Mapping[str, torch.Tensor], *, where: str | Path) -> None:
    """Load the weights of a `UNet2DConditionModel` into the backbone of a network or supernet, strictly.

    Raises:
        CheckpointError: A weight is missing, left over, or of another shape.
    """
    expected = spatial_names(plan, module)
    missing, foreign = sorted(expected - weights.keys()), sorted(weights.keys() - expected)
    if missing or foreign:
        example = missing[0] if missing else foreign[0]
        raise CheckpointError(
            f"{len(missing)} weights missing and {len(foreign)} unexpected, such as {example}",
            where=where,
            hint="give the search space's backbone the values of this checkpoint's config.json",
        )
    load_into(module, weights, where=where, partial=frozenset(module.state_dict().keys() - expected))
