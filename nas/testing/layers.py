"""The contract of a temporal layer, as tests to inherit.

    class TestMyLayer(TemporalLayerConformance):
        layer = "my_layer"            # a registered name, or the class itself
        config = {"kernel_size": 5}   # hyper-parameters that differ from the defaults

Shape suffixes as in `nas.models.temporal`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nas.models.temporal import LayerConfig, TemporalLayer, layer_class
from nas.space.implementations import implementations_of

MAX_RANK = 5
"""Core ML refuses tensors of more dimensions."""


class TemporalLayerConformance:
    """Checks one temporal layer against the contract of `nas.models.temporal.TemporalLayer`.

    Attributes:
        layer: The layer: its registered name, or its class.
        config: Hyper-parameters that differ from the defaults.
        shape: Shape (1, T, C, H, W) of the video the layer is built for; T, H and W at least 2.
        context_shape: Shape (L, D) of the text, for layers that read it.
        links_frames: Whether a frame's output depends on the other frames. A layer that only reads the text, or
            whose kernel covers one frame, sets this to `False`; the test then checks that it does not link frames.
    """

    layer: ClassVar[str | type[TemporalLayer]]
    config: ClassVar[Mapping[str, Any]] = {}
    shape: ClassVar[tuple[int, int, int, int, int]] = (1, 4, 32, 6, 4)
    context_shape: ClassVar[tuple[int, int]] = (5, 24)
    links_frames: ClassVar[bool] = True

    def build(self, *, perturbed: bool = False, seed: int = 0) -> TemporalLayer:
        """The layer, freshly initialised; `perturbed` makes every weight random, so that it does something."""
        kind, config = self._class(), self._class().Config(**self.config)
        config.check(self.shape[2])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = kind(config, self.shape, self.context_shape[1] if config.uses_context else None).eval()
            if perturbed:
                for parameter in module.parameters():
                    torch.nn.init.normal_(parameter, std=0.2)
        return module

    def inputs(self, batch: int = 1, frames: int | None = None, *, seed: int = 0) -> tuple[torch.Tensor, ...]:
        """A random video (B, T, C, H, W), and a text (B, L, D) if the layer reads one."""
        generator = torch.Generator().manual_seed(seed)
        _, built_for, *image = self.shape
        x_BTCHW = torch.randn(batch, frames or built_for, *image, generator=generator)
        if not self._reads_text():
            return (x_BTCHW,)
        return (x_BTCHW, torch.randn(batch, *self.context_shape, generator=generator))

    def test_keeps_the_shape_at_any_batch_and_for_fewer_frames(self) -> None:
        """A video goes in, a video of the same shape and type comes out, images (one frame) included."""
        module = self.build(perturbed=True)
        for batch in (1, 3):
            for frames in (1, self.shape[1]):
                inputs = self.inputs(batch, frames)
                output = _call(module, *inputs)
                assert output.shape == inputs[0].shape, f"batch {batch}, {frames} frames: {tuple(output.shape)}"
                assert output.dtype == inputs[0].dtype
                assert output.isfinite().all()

    def test_is_the_identity_when_freshly_built(self) -> None:
        """Inserting the layer does not disturb a pretrained backbone."""
        module = self.build()
        for frames in (1, self.shape[1]):
            inputs = self.inputs(2, frames)
            torch.testing.assert_close(_call(module, *inputs), inputs[0], rtol=0, atol=0)

    def test_can_leave_the_identity_by_training(self) -> None:
        """The last projection starts at zero, but gradients reach it."""
        module = self.build()
        inputs = self.inputs(2)
        (module(*inputs) - self.inputs(2, seed=1)[0]).square().mean().backward()
        gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        assert any(bool(gradient.abs().max() > 0) for gradient in gradients), "no weight receives a gradient"
        perturbed = self.build(perturbed=True)
        assert not torch.equal(_call(perturbed, *inputs), inputs[0]), "the layer is the identity for any weights"

    def test_clips_of_a_batch_do_not_see_each_other(self) -> None:
        """Each clip's output is what it would be alone."""
        module = self.build(perturbed=True)
        inputs = self.inputs(3)
        together = _call(module, *inputs)
        for index in range(3):
            alone = _call(module, *(value[index : index + 1] for value in inputs))
            torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-4)

    def test_frames_are_linked_as_stated(self) -> None:
        """A change of the last frame changes the others if `links_frames` says so, and only then."""
        module = self.build(perturbed=True)
        x_BTCHW, *context = self.inputs()
        changed_BTCHW = x_BTCHW.clone()
        changed_BTCHW[:, -1] += torch.randn(changed_BTCHW[:, -1].shape, generator=torch.Generator().manual_seed(1))
        before, after = _call(module, x_BTCHW, *context), _call(module, changed_BTCHW, *context)
        linked = not torch.allclose(before[:, :-1], after[:, :-1], rtol=0, atol=1e-5)
        assert linked == self.links_frames, "frames are linked" if linked else "frames are not linked"

    def test_reads_the_text_as_stated(self) -> None:
        """A layer whose `Config` says `uses_context` reacts to another text."""
        if not self._reads_text():
            return
        module = self.build(perturbed=True)
        x_BTCHW, context_BLD = self.inputs()
        assert not torch.allclose(_call(module, x_BTCHW, context_BLD), _call(module, x_BTCHW, -context_BLD), atol=1e-5)

    def test_is_deterministic_and_keeps_no_state(self) -> None:
        """Equal inputs give equal outputs, also after other calls; inputs are not changed."""
        module = self.build(perturbed=True)
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        inputs = self.inputs()
        first = _call(module, *inputs)
        _call(module, *self.inputs(3, 1, seed=1))
        assert torch.equal(first, _call(module, *inputs))
        assert all(torch.equal(value, copy) for value, copy in zip(inputs, self.inputs(), strict=True))
        assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())

    def test_no_tensor_has_more_than_five_dimensions(self) -> None:
        """Core ML refuses rank 6."""
        module = self.build(perturbed=True)
        with torch.no_grad(), _RankWatch() as watch:
            module(*self.inputs(2))
        assert watch.rank <= MAX_RANK, f"{watch.operator} makes a tensor of {watch.rank} dimensions"

    def test_exports(self) -> None:
        """`torch.export` takes the layer at batch 1, and the exported program computes the same."""
        module = self.build(perturbed=True)
        inputs = self.inputs()
        program = torch.export.export(module, inputs).run_decompositions({})
        torch.testing.assert_close(program.module()(*inputs), _call(module, *inputs), rtol=1e-4, atol=1e-5)
        for node in program.graph.nodes:
            for value in _tensors(node.meta.get("val")):
                assert value.dim() <= MAX_RANK, f"{node} has {value.dim()} dimensions"

    def test_weights_have_names(self) -> None:
        """The state dict holds everything in which two copies can differ, so that weights can be copied by name."""
        module = self.build(perturbed=True)
        copy = self.build(seed=1)
        copy.load_state_dict(module.state_dict())
        inputs = self.inputs()
        assert torch.equal(_call(copy, *inputs), _call(module, *inputs))

    def test_every_implementation_computes_the_same(self) -> None:
        """The fields in `Config.implementation_fields` change neither the weights nor the result."""
        reference = self.build(perturbed=True)
        kind = type(reference)
        for config in implementations_of(kind.Config(**self.config)):
            module = kind(config, self.shape, self.context_shape[1] if config.uses_context else None).eval()
            module.load_state_dict(reference.state_dict())
            for frames in (1, self.shape[1]):
                inputs = self.inputs(2, frames)
                torch.testing.assert_close(
                    _call(module, *inputs), _call(reference, *inputs), rtol=1e-4, atol=1e-4, msg=_about(config)
                )

    def _class(self) -> type[TemporalLayer]:
        return layer_class(self.layer) if isinstance(self.layer, str) else self.layer

    def _reads_text(self) -> bool:
        return self._class().Config.uses_context


class _RankWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest number of dimensions of any tensor that an operator made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rank = 0
        self.operator = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            if tensor.dim() > self.rank:
                self.rank, self.operator = tensor.dim(), str(func)
        return result


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _call(module: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        output = module(*inputs)
    assert isinstance(output, torch.Tensor)
    return output


def _about(config: LayerConfig) -> Callable[[str], str]:
    return lambda message: f"{config}: {message}"
