"""The networks of a bundle that one runtime executes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nas.errors import CheckpointError, ConfigError
from nas.export.manifest import MANIFEST, PARTS, Manifest, Network, Part
from nas.export.tokenizers import ClipTokens, TokenizerFile


def networks_of(manifest: Manifest, runtime: str, root: Path) -> list[Network]:
    """The networks of a runtime, which can be called as the sampler calls them.

    Args:
        manifest: The manifest.
        runtime: Name of the runtime.
        root: The bundle, for messages.

    Raises:
        CheckpointError: A network is missing, or has other inputs than there are.
        ConfigError: The bundle has no networks for this runtime.
    """
    found = [network for network in manifest.networks if network.runtime == runtime]
    if not found:
        names = ", ".join(manifest.runtimes) or "none"
        hint = "export the model again with that format"
        raise ConfigError(
            f"the bundle has no networks for the runtime {runtime} (it has: {names})", where=root, hint=hint
        )
    _check_fit(manifest, found, root)
    return found


def _check_fit(manifest: Manifest, networks: Iterable[Network], root: Path) -> None:
    """Raise `CheckpointError` unless the networks of each part, in their order, can be called with what there is."""
    where = root / MANIFEST
    for part in PARTS:
        known = _given(manifest, part)
        for network in (network for network in networks if network.part == part):
            for tensor in network.inputs:
                if known.get(tensor.name) != tensor.shape:
                    what = f"{network.path} reads {tensor.name} of {tensor.shape}, which nothing before it writes"
                    raise CheckpointError(what, where=where, hint="export the model again")
            known |= {tensor.name: tensor.shape for tensor in network.outputs}
        if "output" not in known:
            raise CheckpointError(f"no network of the {part} has an output", where=where, hint="export the model again")


def _given(manifest: Manifest, part: Part) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what a part is called with."""
    if part == "text_encoder":
        return {"tokens": (1, manifest.tokenizer.length)}
    if part == "decoder":
        return {"latent": manifest.latent.shape}
    contexts = [
        output.shape for network in manifest.networks for output in network.outputs if network.part == "text_encoder"
    ]
    return {"sample": manifest.latent.shape, "timestep": (1,), "context": contexts[0] if contexts else ()}


def tokenizer_files(manifest: Manifest) -> tuple[str, ...]:
    """Files that the tokenizer reads."""
    tokenizer = manifest.tokenizer
    if isinstance(tokenizer, ClipTokens):
        return (tokenizer.vocabulary, tokenizer.merges)
    return (tokenizer.file,) if isinstance(tokenizer, TokenizerFile) else ()
