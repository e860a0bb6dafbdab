"""Make a clip with a bundle of `nas export`, without torch and without nas: what an app on a phone has to do.

    python examples/run_bundle.py runs/quickstart/export/bundle --out clip.gif

It needs numpy, onnxruntime, pillow to write the clip, and tokenizers if the bundle has a tokenizer.json. Without
--prompt and --seed it makes the test vector's clip, and prints how far each step is from torch's. docs/app.md explains
the files."""

import argparse
import itertools
import json
import re
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def words(caption):
    """The words that the small text encoder reads: runs of letters and digits, and symbols outside ASCII."""
    text = re.sub("[\ufe0e\ufe0f]", "", unicodedata.normalize("NFC", unicodedata.normalize("NFC", caption).lower()))
    found = re.finditer(r"w(?:[wm]|j(?=w))*|s[mt]*(?:js[mt]*)*", "".join(map(kind_of, text)))
    return [text[match.start() : match.end()] for match in found]


def kind_of(letter):
    """Letter or digit (w), joiner, mark, skin tone, symbol outside ASCII, or a space for what separates words."""
    kind = unicodedata.category(letter)[0]
    if letter.isalnum() or letter == "\u200d":
        return "w" if letter.isalnum() else "j"
    if "\U0001f3fb" <= letter <= "\U0001f3ff":
        return "t"
    return "m" if kind == "M" else "s" if kind == "S" and not letter.isascii() else " "


def clip_numbers(caption, vocabulary, merges):
    """CLIP's byte-pair encoding."""
    ranks = {tuple(pair.split()): rank for rank, pair in enumerate(merges)}
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that stand for themselves
    letters = {byte: chr(byte) for byte in plain} | {
        byte: chr(256 + place) for place, byte in enumerate(sorted({*range(256)} - {*plain}))
    }
    numbers, text = [], unicodedata.normalize("NFC", caption).lower()
    for piece in re.findall(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\s\w]|_)+", text):
        parts = [letters[byte] for byte in piece.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pairs = list(itertools.pairwise(parts))
            place = min(range(len(pairs)), key=lambda index: ranks.get(pairs[index], len(ranks)))
            if pairs[place] not in ranks:
                break
            parts[place : place + 2] = ["".join(pairs[place])]
        numbers += [vocabulary.get(part, vocabulary["<|endoftext|>"]) for part in parts]
    return numbers


def tokenize(caption, rule, bundle):
    """Token numbers (1, length) of a caption."""
    if rule["kind"] == "tokenizer_file":
        from tokenizers import Tokenizer  # Hugging Face's, which needs no torch

        numbers = Tokenizer.from_file(str(bundle / rule["file"])).encode(caption).ids
    elif rule["kind"] == "hashed_words":
        numbers = [rule["start"]]
        numbers += [rule["first_word"] + zlib.crc32(word.encode()) % rule["buckets"] for word in words(caption)]
    else:
        vocabulary = json.loads((bundle / rule["vocabulary"]).read_text(encoding="utf-8"))
        merges = (bundle / rule["merges"]).read_text(encoding="utf-8").splitlines()[1:]
        numbers = [rule["start"], *clip_numbers(caption, vocabulary, merges), rule["end"]]
    if len(numbers) > rule["length"]:
        raise SystemExit(f"the prompt is too long: {len(numbers)} tokens, the text encoder reads {rule['length']}")
    return np.array([numbers + [rule["pad"]] * (rule["length"] - len(numbers))], np.int64)


def read_safetensors(path):
    """Tensors by name: eight bytes of the header's length, the header, then the numbers."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:end]).items():
        first, last = entry["data_offsets"]
        kind = {"F32": np.float32, "I64": np.int64}[entry["dtype"]]
        tensors[name] = np.frombuffer(data[end + first : end + last], kind).reshape(entry["shape"])
    return tensors


def load(bundle, manifest):
    """A function that calls the networks of a part in their order; each reads its inputs by name."""
    sessions = [
        (network, onnxruntime.InferenceSession(str(bundle / network["path"]), providers=["CPUExecutionProvider"]))
        for network in manifest["networks"]
        if network["runtime"] == "onnxruntime"
    ]

    def call(part, **values):
        for network, session in sessions:
            if network["part"] == part:
                made = session.run(None, {tensor["name"]: values[tensor["name"]] for tensor in network["inputs"]})
                values |= {tensor["name"]: value for tensor, value in zip(network["outputs"], made, strict=True)}
        return values["output"]

    return call


def sample(call, sampler, captions, noise):
    """The latents after each step; with guidance, the empty caption comes before the prompt."""
    scale, latents = np.float32(sampler["guidance_scale"]), [noise]
    contexts = [call("text_encoder", tokens=numbers) for numbers in captions]
    for step in sampler["steps"]:
        given = {"sample": latents[-1], "timestep": np.array([step["timestep"]], np.float32)}
        first, *guided = [call("unet", context=context, **given) for context in contexts]
        velocity = first + scale * (guided[0] - first) if guided else first
        latents.append(latents[-1] + np.float32(step["velocity_factor"]) * velocity)
    return latents[1:]


def psnr_db(made, expected):
    """Peak signal-to-noise ratio; the peak is the largest value expected."""
    error = np.mean((made.astype(np.float64) - expected) ** 2)
    return float("inf") if error == 0 else 20 * np.log10(np.abs(expected).max()) - 10 * np.log10(error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--prompt")
    parser.add_argument("--seed", type=int, help="of numpy's noise; the noise of the test vector otherwise")
    parser.add_argument("--out", type=Path, default=Path("clip.gif"), help=".gif, or .npy for the decoder's values")
    options = parser.parse_args()
    manifest = json.loads((options.bundle / "manifest.json").read_text(encoding="utf-8"))
    vector = read_safetensors(options.bundle / manifest["test_vector"]["path"])
    seed, noise, prompt = options.seed, vector["noise"], options.prompt or manifest["test_vector"]["prompt"]
    if seed is not None:
        noise = np.random.default_rng(seed).standard_normal(noise.shape, np.float32)
    captions = [prompt] if manifest["sampler"]["guidance_scale"] == 1 else ["", prompt]
    tokens = [tokenize(caption, manifest["tokenizer"], options.bundle) for caption in captions]
    call = load(options.bundle, manifest)
    latents = sample(call, manifest["sampler"], tokens, noise)
    frames = call("decoder", latent=latents[-1])
    if not options.prompt and seed is None:
        for number, latent in enumerate(latents, start=1):
            print(f"latent after step {number}: {psnr_db(latent[0], vector['latents'][number - 1]):.1f} dB")
        print(f"frames: {psnr_db(frames, vector['frames']):.1f} dB")
    if options.out.suffix == ".npy":
        np.save(options.out, frames)
    else:
        first, *others = map(Image.fromarray, np.uint8((frames[0].transpose(0, 2, 3, 1) + 1) * 127.5 + 0.5))
        first.save(options.out, save_all=True, append_images=others, duration=1000 / manifest["clip"]["fps"], loop=0)


if __name__ == "__main__":
    main()
