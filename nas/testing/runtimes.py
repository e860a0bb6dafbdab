"""The contract of a runtime, as tests to inherit.

    class TestMyRuntime(RuntimeConformance):
        name = "my_runtime"       # a registered name
        options = {"threads": 2}  # options that differ from the defaults

If the runtime says that it cannot execute on this machine, the tests that execute pass without doing so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import nn

from nas.errors import CheckpointError, NasError, RuntimeUnavailableError
from nas.files import StrictModel
from nas.runtimes import Array, Executable, Runtime, get_runtime, to_arrays
from nas.runtimes.registry import runtime_options

ErrorT = TypeVar("ErrorT", bound=NasError)


class Convolution(nn.Module):
    """A video (1, T, C, H, W) through dropout and a convolution of every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)
        self.layer = nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x_BTCHW: torch.Tensor) -> torch.Tensor:
        """Apply to every frame."""
        return self.layer(self.dropout(x_BTCHW.flatten(0, 1))).unflatten(0, x_BTCHW.shape[:2])  # type: ignore[no-any-return]


class Lookup(nn.Module):
    """Token numbers (1, L), int64, and a number per clip (1,) to (1, L, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40_000, 8)

    def forward(self, tokens_BL: torch.Tensor, level_B: torch.Tensor) -> torch.Tensor:
        """Look up and scale."""
        return self.embedding(tokens_BL) * torch.cos(level_B)  # type: ignore[no-any-return]


class Refused(nn.Module):
    """A module that cannot be converted: it fails on every input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Fail."""
        raise RuntimeError("this module cannot run")


EXAMPLES: dict[str, tuple[type[nn.Module], tuple[torch.Tensor, ...], tuple[str, ...]]] = {
    "convolution": (Convolution, (torch.linspace(-1, 1, 192).reshape(1, 3, 4, 4, 4),), ("x",)),
    # Numbers that fp16 cannot hold: a runtime that narrows its inputs must not narrow these.
    "lookup": (Lookup, (torch.tensor([[0, 2049, 39_999]]), torch.tensor([743.3])), ("tokens", "level")),
}


class RuntimeConformance:
    """Checks one runtime against the contract of `nas.runtimes.Runtime`.

    Attributes:
        name: Its registered name.
        options: Fields of its `Config`.
        tolerance: Largest relative difference from torch that its precision explains.
    """

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    tolerance: ClassVar[float] = 1e-4

    def build(self) -> Runtime:
        """The runtime under test."""
        return get_runtime(self.name, **self.options)

    def test_every_option_has_a_default(self) -> None:
        """The runtime can be built without options, and its `Config` lists them."""
        runtime = type(self.build())
        assert issubclass(runtime.Config, StrictModel)
        assert runtime().config == runtime.Config()
        assert self.options.keys() <= runtime.Config.model_fields.keys()

    def test_settings_describe_the_runtime(self) -> None:
        """Equal options give equal settings, and the settings lead back to the options."""
        settings = self.build().settings
        assert settings.runtime == self.name
        assert settings == self.build().settings
        assert settings.precision in {"fp32", "fp16"}
        assert get_runtime(self.name, **runtime_options(settings)).settings == settings

    def test_computes_what_torch_computes(self, tmp_path: Path) -> None:
        """In evaluation mode, also if the module is in training mode, and without changing inputs."""
        if not self._executes():
            return
        for label, (kind, inputs, names) in EXAMPLES.items():
            module = _seeded(kind).train()
            arrays = to_arrays(inputs)
            output = self.build().prepare(module, inputs, names, _folder(tmp_path, label)).run(arrays)
            self._assert_close(output, _reference(module, inputs), label)
            assert all(np.array_equal(a, b) for a, b in zip(arrays, to_arrays(inputs), strict=True))

    def test_executables_live_side_by_side(self, tmp_path: Path) -> None:
        """Several executables may be loaded at once and called in turn, bound or not."""
        if not self._executes():
            return
        kind, inputs, names = EXAMPLES["convolution"]
        modules = [_seeded(kind, seed) for seed in (0, 1)]
        runtime, arrays = self.build(), to_arrays(inputs)
        loaded = [runtime.prepare(m, inputs, names, _folder(tmp_path, str(i))) for i, m in enumerate(modules)]
        calls = [executable.bind(arrays) for executable in loaded]
        for _ in range(2):
            for call in calls:
                call()
            for module, executable in zip(modules, loaded, strict=True):
                self._assert_close(executable.run(arrays), _reference(module, inputs), "side by side")

    def test_peak_memory_is_reported_or_not_known(self, tmp_path: Path) -> None:
        """The same number twice, more than the weights take; later calls work as before, bound or not."""
        if not self._executes():
            return
        item_bytes = {"fp32": 4, "fp16": 2}[self.build().settings.precision]
        for label, (kind, inputs, names) in EXAMPLES.items():
            module, arrays = _seeded(kind), to_arrays(inputs)
            executable = self.build().prepare(module, inputs, names, _folder(tmp_path, label))
            call = executable.bind(arrays)
            peak = executable.peak_memory_bytes(arrays)
            assert executable.peak_memory_bytes(arrays) == peak, label
            if peak is not None:
                assert isinstance(peak, int), label
                assert peak > item_bytes * sum(weight.numel() for weight in module.parameters()), label
            call()
            self._assert_close(executable.run(arrays), _reference(module, inputs), label)

    def test_the_executable_keeps_its_weights(self, tmp_path: Path) -> None:
        """Training the module further does not change what was prepared from it."""
        if not self._executes():
            return
        kind, inputs, names = EXAMPLES["convolution"]
        module = _seeded(kind)
        expected = _reference(module, inputs)
        executable = self.build().prepare(module, inputs, names, tmp_path)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.zero_()
        self._assert_close(executable.run(to_arrays(inputs)), expected, "after training")

    def test_the_module_comes_back_as_it_was(self, tmp_path: Path) -> None:
        """Mode of every part, weights and gradients are unchanged."""
        kind, inputs, names = EXAMPLES["convolution"]
        module = _seeded(kind).train()
        module.get_submodule("layer").eval()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        self._use(module, inputs, names, tmp_path)
        assert module.training
        assert not module.get_submodule("layer").training
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
        assert all(parameter.requires_grad for parameter in module.parameters())

    def test_files_are_whole_and_can_be_moved(self, tmp_path: Path) -> None:
        """`convert` leaves one file or folder of its suffix, which works elsewhere."""
        runtime = self.build()
        kind, inputs, names = EXAMPLES["lookup"]
        module, folder = _seeded(kind), _folder(tmp_path, "made")
        path = folder / f"model{runtime.suffix}"
        if runtime.suffix is None:
            _raised(RuntimeUnavailableError, lambda: runtime.convert(module, inputs, names, path))
            return
        runtime.convert(module, inputs, names, path)
        assert [item.name for item in folder.iterdir()] == [path.name]
        runtime.convert(module, inputs, names, path)  # again, over what is there
        moved = path.rename(_folder(tmp_path, "moved") / path.name)
        if self._executes():
            self._assert_close(self._load(moved).run(to_arrays(inputs)), _reference(module, inputs), "moved")

    def test_a_module_it_refuses_is_one_clear_error(self, tmp_path: Path) -> None:
        """The error names the module, and nothing is left behind."""
        runtime = self.build()
        if runtime.suffix is None:
            return
        path = tmp_path / f"model{runtime.suffix}"
        error = _raised(RuntimeUnavailableError, lambda: runtime.convert(Refused(), (torch.zeros(1),), ("x",), path))
        assert "Refused" in str(error)
        assert not list(tmp_path.iterdir())

    def test_a_damaged_file_is_one_clear_error(self, tmp_path: Path) -> None:
        """The error names the file."""
        runtime = self.build()
        if runtime.suffix is None or not self._executes():
            return
        for content in (None, b"", b"not a model"):
            path = tmp_path / f"model{runtime.suffix}"
            if content is not None:
                path.write_bytes(content)
            assert str(path) in str(_raised(CheckpointError, lambda path=path: runtime.load(path)))  # type: ignore[misc]

    def test_says_why_it_cannot_execute(self, tmp_path: Path) -> None:
        """If there is a reason, `load` and `prepare` raise with it."""
        runtime = self.build()
        reason = runtime.unavailable_reason()
        if reason is None:
            return
        kind, inputs, names = EXAMPLES["convolution"]
        for call in (lambda: runtime.load(tmp_path), lambda: runtime.prepare(_seeded(kind), inputs, names, tmp_path)):
            assert reason in str(_raised(RuntimeUnavailableError, call))
        assert not list(tmp_path.iterdir())

    def test_says_why_it_cannot_be_measured(self) -> None:
        """What cannot execute cannot be measured; every reason is one line."""
        runtime = self.build()
        unavailable, unmeasurable = runtime.unavailable_reason(), runtime.unmeasurable_reason()
        assert unmeasurable is not None or unavailable is None
        assert all(
            reason.strip() and "\n" not in reason for reason in (unavailable, unmeasurable) if reason is not None
        )

    def _executes(self) -> bool:
        return self.build().unavailable_reason() is None

    def _load(self, path: Path) -> Executable:
        return self.build().load(path)

    def _use(self, module: nn.Module, inputs: Sequence[torch.Tensor], names: Sequence[str], folder: Path) -> None:
        runtime = self.build()
        if self._executes():
            runtime.prepare(module, inputs, names, folder)
        else:
            runtime.convert(module, inputs, names, folder / f"model{runtime.suffix}")

    def _assert_close(self, output: Array, reference: Array, label: str) -> None:
        assert output.shape == reference.shape, label
        difference = float(np.abs(output.astype(np.float64) - reference).max())
        assert difference <= self.tolerance * float(np.abs(reference).max()), f"{label}: differs by {difference}"


def _seeded(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind()


def _reference(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Array:
    modes = [(part, part.training) for part in module.modules()]
    with torch.no_grad():
        output = module.eval()(*inputs)
    for part, training in modes:
        part.training = training
    return to_arrays([output])[0]


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _raised(kind: type[ErrorT], call: Callable[[], object]) -> ErrorT:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")
