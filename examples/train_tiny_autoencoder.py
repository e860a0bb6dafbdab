"""Train a tiny autoencoder of clips, and save it as a folder that `codec.path` of a search space can name.

    python examples/train_tiny_autoencoder.py --out runs/tiny_autoencoder

This takes minutes on two cores, and teaches it the moving shapes; --videos names a folder of videos to learn from. With
--teacher it imitates the codec of a search space: its encoder learns to make the codec's latents, and its decoder to
decode them. Then it decodes what a model makes that was trained on latents of that codec.

For natural video at full size, an adversarial loss must come on top: the mean square error alone blurs."""

import argparse
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from nas.data import ClipShape, MovingShapes, VideoDataset, to_pixels
from nas.errors import NasError
from nas.models import make_codec
from nas.models.tiny_video import AutoencoderTinyVideo
from nas.space import SearchSpace

# Four frames and 8x8 pixels become one place of the latent.
LAYOUT = {
    "latent_channels": 8,
    "decoder_block_out_channels": [64, 32, 16],
    "num_decoder_blocks": [2, 1, 1],
    "encoder_block_out_channels": [16, 32, 64],
    "num_encoder_blocks": [1, 1, 1],
    "spatial_upsample": [True, True],
    "temporal_upsample": [True, False],
    "patch_size": 2,
    "patch_size_t": 2,
}
SHAPE = ClipShape(frames=16, height=64, width=64, fps=8)
HELD_OUT = 32  # clips
BATCH = 4
LEARNING_RATE = 2e-3


def main(args):
    torch.manual_seed(0)
    clips = VideoDataset.open(args.videos, SHAPE) if args.videos else MovingShapes(SHAPE, 4096 + HELD_OUT)
    model = AutoencoderTinyVideo(**LAYOUT)
    teacher = make_codec(SearchSpace.load(args.teacher)) if args.teacher else None
    train(model, teacher, clips, args.steps)
    model.eval()
    with torch.no_grad():
        report(model, teacher, read(clips, range(len(clips) - HELD_OUT, len(clips))))
        if teacher is None:
            set_scale(model, read(clips, range(128)))
    model.save_pretrained(args.out)
    print(f"saved to {args.out}")


def report(model, teacher, pixels):
    decoded = model.decode_frames(model.encode_frames(pixels))
    print(f"{HELD_OUT} held-out clips, PSNR: {psnr_db(decoded, pixels):.1f} dB")
    if teacher is not None:
        latents = teacher.encode(pixels)
        decoded, own = model.decode_frames(latents), teacher.decode(latents)
        print(
            f"the teacher's latents: {psnr_db(decoded, pixels):.1f} dB, decoded by itself {psnr_db(own, pixels):.1f} dB"
        )


def read(clips, indices):
    """Pixels (B, T, 3, H, W) in [-1, 1]."""
    return to_pixels(clips.batch(list(indices))[0])


def train(model, teacher, clips, steps):
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    started = time.monotonic()
    for step in range(1, steps + 1):
        pixels = read(clips, torch.randint(len(clips) - HELD_OUT, (BATCH,)).tolist())
        loss = loss_of(model, teacher, pixels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"step {step} of {steps}, loss {loss.item():.4f}, {time.monotonic() - started:.0f} s", flush=True)


def loss_of(model, teacher, pixels):
    latents = model.encode_frames(pixels)
    if teacher is None:
        return F.mse_loss(model.decode_frames(latents), pixels)
    taught = teacher.encode(pixels)
    if latents.shape != taught.shape:
        raise SystemExit(
            f"the teacher's latents are {list(taught.shape)}, the student's {list(latents.shape)}: change LAYOUT"
        )
    return F.mse_loss(latents, taught) + F.mse_loss(model.decode_frames(taught), pixels)


def set_scale(model, pixels):
    """Write the mean and the deviation of each latent channel into the configuration: noise has 0 and 1."""
    latents = model.encode_frames(pixels).transpose(1, 2).flatten(2).transpose(0, 1).flatten(1)
    model.register_to_config(latents_mean=latents.mean(1).tolist(), latents_std=latents.std(1).tolist())


def psnr_db(made, pixels):
    """Peak signal-to-noise ratio of pixels in [-1, 1]."""
    return -10 * torch.log10(F.mse_loss(made.clamp(-1, 1), pixels) / 4).item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/tiny_autoencoder"), help="Folder to save to.")
    parser.add_argument("--steps", type=int, default=2000, help="Steps of training.")
    parser.add_argument("--videos", type=Path, help="Folder of videos with captions.csv, in place of moving shapes.")
    parser.add_argument("--teacher", type=Path, help="Search space whose codec is imitated.")
    try:
        main(parser.parse_args())
    except NasError as error:
        raise SystemExit(f"error: {error}") from error
