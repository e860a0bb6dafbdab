"""What compressed weights cost, in words."""

from __future__ import annotations

from nas.export import Compression

_PARTS = {"text_encoder": "text encoder", "unet": "denoising network", "decoder": "decoder"}


def compression_sentence(compression: Compression) -> str:
    """One line: the PSNR of each part, and the loss on held-out clips if it is known."""
    parts = ", ".join(
        f"{_PARTS[name]} {'equal' if psnr_db is None else f'{psnr_db:.1f} dB'}"
        for name, psnr_db in compression.psnr_db.items()
    )
    line = f"{compression.weights} weights against fp32, both in torch: {parts}"
    held_out = compression.held_out
    if held_out is None:
        return line
    percent = 100 * (held_out.loss / held_out.uncompressed_loss - 1)
    return (
        f"{line}; {held_out.metric} {held_out.loss:.5f} instead of {held_out.uncompressed_loss:.5f} ({percent:+.2f}%), "
        f"{held_out.clips}"
    )
