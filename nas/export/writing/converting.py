"""Converting the networks of a model to files, and comparing each with torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nas.compression import compressed_kind
from nas.export.manifest import Network, ParityReport
from nas.export.writing.parity import measured_parity
from nas.export.writing.programs import Program, Programs
from nas.runtimes import Runtime

Chunks = Literal[1, 2]
"""Programs that the denoising network is cut into."""


@dataclass(frozen=True)
class Convertible:
    """A network, and what its files are compared with.

    Args:
        own: Its programs, which are converted.
        stored: The same with the weights that compressed files hold.
    """

    own: Programs
    stored: Programs

    def for_runtime(self, runtime: Runtime, chunks: Chunks) -> Convertible:
        """The programs for the files of a runtime; the denoising network is the one to cut."""
        kind = runtime.settings.weights
        stored = self.own if compressed_kind(kind) is None else self.stored
        if chunks == 1 or self.own.part.name != "unet":
            return Convertible(self.own, stored)
        own = Programs.in_two(self.own.part, kind)
        return Convertible(own, own if stored is self.own else Programs.in_two(stored.part, kind))


def convert_networks(
    networks: Sequence[Convertible],
    runtimes: Mapping[str, Runtime],
    root: Path,
    chunks: Chunks,
    advance: Callable[[str], None],
) -> tuple[Network, ...]:
    """Convert networks to the files of a bundle.

    Args:
        networks: The networks.
        runtimes: What converts them, by format.
        root: The bundle.
        chunks: Programs that the denoising network is cut into.
        advance: Called with the name of each file that is written.

    Raises:
        ConfigError: Two programs cannot hold the denoising network.
        NasError: A converted network's output is not torch's.
        RuntimeUnavailableError: A converter is missing, or refuses a network.
        StorageError: A file cannot be written.
    """
    return tuple(
        entry
        for format_, runtime in runtimes.items()
        for network in networks
        for entry in _convert(network.for_runtime(runtime, chunks), runtime, root, format_, advance)
    )


def _convert(
    network: Convertible, runtime: Runtime, root: Path, format_: str, advance: Callable[[str], None]
) -> list[Network]:
    programs = network.own
    names = [f"{format_}/{program.name}{runtime.suffix}" for program in programs.programs]
    for program, name in zip(programs.programs, names, strict=True):
        example = [programs.values[0][value] for value in program.inputs]
        runtime.convert(program.module, example, program.inputs, root / name)
        advance(name)
    parities = measured_parity(programs, runtime, [root / name for name in names], network.stored)
    described = zip(programs.programs, names, parities, strict=True)
    return [
        _entry(programs, program, runtime, root / name, name=name, parity=parity) for program, name, parity in described
    ]


def _entry(
    programs: Programs, program: Program, runtime: Runtime, path: Path, *, name: str, parity: ParityReport
) -> Network:
    """The manifest's entry of a converted program."""
    signature = runtime.signature(path) or programs.signature(program)
    return Network(
        path=name,
        part=programs.part.name,
        runtime=runtime.name,
        precision=runtime.settings.precision,
        weights=runtime.settings.weights,
        opset=runtime.settings.opset,
        size_bytes=_size_bytes(path),
        inputs=signature.inputs,
        outputs=signature.outputs,
        parity=parity,
    )


def _size_bytes(path: Path) -> int:
    if path.is_file():
        companion = path.with_name(path.name + ".data")
        return path.stat().st_size + (companion.stat().st_size if companion.is_file() else 0)
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
