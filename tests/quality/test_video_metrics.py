"""Metrics of clips of any content, against closed forms and the formulas of their sources."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import transformers

from nas.data import MovingShapesConfig
from nas.errors import CheckpointError, ConfigError
from nas.quality import ClipQuality, MeanScore, QualityContext, make_metric, metric_options
from nas.quality.clips.encoders import ClipEncoder, ImageEncoder
from nas.quality.clips.frames import FrameConsistency, TextAlignment, consistency
from nas.quality.clips.metric import TemporalFlickering
from nas.quality.clips.motion import DynamicDegree, FlowInterpolator, MotionSmoothness
from nas.quality.clips.optical_flow import RaftFlow, load_flow, warped
from nas.quality.clips.sources import HeldOutClips
from nas.quality.clips.video_encoders import load_video_encoder, spread
from nas.space import SearchSpace
from nas.testing import QualityMetricConformance
from nas.training import SearchInputs, SuperNetConfig, open_clips, train_supernet
from tests.quality import networks
from tests.tiny import TINY

SPACE = SearchSpace.from_dict(TINY)
CLIPS = open_clips(MovingShapesConfig(kind="moving_shapes", clips=24), SPACE, base=".", validation_fraction=0.25)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("networks")
    networks.dino(root / "dino")
    networks.clip(root / "clip")
    networks.videomae(root / "videomae")
    for name, network in (("means", networks.Means()), ("flow", networks.ToTheRight()), ("mid", networks.Average())):
        networks.script(network, root / f"{name}.pt")
    config = SuperNetConfig(steps=1, batch_size=2, image_batch_size=1, warmup_steps=0)
    train_supernet(SPACE, CLIPS.train, config, root / "supernet")
    return root


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def moving(frames: int, step: int) -> torch.Tensor:
    """A clip (1, T, 3, 32, 48) of a picture that moves to the right; smooth, so that half a step is interpolated."""
    x, y = np.arange(48), np.arange(32)[:, None]
    picture = [128 + 90 * np.sin((x - step * t) / 4 + y / 9) for t in range(frames)]
    return torch.tensor(np.stack(picture)).round().byte()[None, :, None].repeat(1, 1, 3, 1, 1)


def constant_flow(x: float, y: float = 0.0) -> Any:
    def flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.tensor([x, y]).view(1, 2, 1, 1).expand(len(first), 2, *first.shape[-2:])

    return flow


def test_flickering_is_the_formula_of_vbench() -> None:
    video = noise(3, 5, 3, 8, 8)
    frames = video.numpy().astype(np.float64)
    expected = [(255 - np.mean([np.abs(a - b).mean() for a, b in itertools.pairwise(clip)])) / 255
                for clip in frames]  # fmt: skip
    assert TemporalFlickering().describe(video, [""] * 3)[:, 0] == pytest.approx(expected)
    still = video[:, :1].expand(-1, 4, -1, -1, -1)
    assert TemporalFlickering().describe(still, [""] * 3).tolist() == [[1.0]] * 3


def test_consistency_is_the_formula_of_vbench() -> None:
    feature = torch.nn.functional.normalize(torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(1)), dim=-1)
    expected = [
        np.mean([(max(0, one[0] @ one[t]) + max(0, one[t - 1] @ one[t])) / 2 for t in range(1, 5)])
        for one in feature.numpy()
    ]
    assert consistency(feature).tolist() == pytest.approx(expected)
    assert consistency(feature[:, :1].expand(-1, 3, -1)).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize(("pixels", "moves"), [(0.0, 0), (0.7, 0), (0.8, 1)])
def test_a_clip_moves_if_its_fastest_pixels_do(pixels: float, moves: int) -> None:
    """The threshold is 6 pixels of 256: 0.75 pixels of 32."""
    video = noise(1, 8, 3, 32, 40)
    assert DynamicDegree(constant_flow(0, pixels), fps=8).describe(video, [""]).tolist() == [[moves]]


def test_a_twentieth_of_the_pixels_and_a_quarter_of_the_frames_suffice() -> None:
    def few(share: float, pairs: int) -> float:
        def flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
            found = torch.zeros(len(first), 2, 1000)
            found[:pairs, 0, : int(1000 * share)] = 1.0
            return found.view(-1, 2, 20, 50)

        return float(DynamicDegree(flow, fps=8).describe(noise(1, 8, 3, 20, 50), [""])[0, 0])

    # 8 frames need 2 moving pairs; the mean over the fastest 5% must exceed 6 * 20 / 256 = 0.47 pixels.
    assert [few(0.05, 2), few(0.05, 1), few(0.03, 2), few(0.02, 2)] == [1, 0, 1, 0]


def test_dynamic_degree_looks_at_eight_frames_a_second() -> None:
    seen: list[int] = []

    def flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        seen.append(len(first))
        return torch.zeros(len(first), 2, *first.shape[-2:])

    for fps in (4, 8, 24):
        DynamicDegree(flow, fps).describe(noise(1, 24, 3, 8, 8), [""])
    assert seen == [23, 23, 7]


def test_warping_by_a_translation_moves_a_picture() -> None:
    frame = moving(1, 0)[0].float()
    assert torch.allclose(warped(frame, constant_flow(3, 0)(frame, frame))[..., :-3], frame[..., 3:], atol=1e-2)
    assert torch.allclose(warped(frame, constant_flow(0, 2)(frame, frame))[..., :-2, :], frame[..., 2:, :], atol=1e-2)


def test_smoothness_is_the_formula_of_vbench() -> None:
    video = noise(2, 6, 3, 8, 8)
    metric = MotionSmoothness(networks.Average())
    frames = video.numpy().astype(np.float64)
    expected = [(255 - np.mean([np.abs((one[t - 1] + one[t + 1]) / 2 - one[t]).mean() for t in (1, 3)])) / 255
                for one in frames]  # fmt: skip
    assert metric.describe(video, ["", ""])[:, 0] == pytest.approx(expected, abs=0.5 / 255)
    assert metric.describe(video[:, :1].expand(-1, 5, -1, -1, -1), ["", ""]).tolist() == [[1.0], [1.0]]


def test_a_translation_is_smooth_if_its_flow_is_known() -> None:
    video = moving(5, step=2)

    def flow(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        sign = 1.0 if flow.forward else -1.0  # type: ignore[attr-defined]
        flow.forward = not flow.forward  # type: ignore[attr-defined]
        return constant_flow(4 * sign)(first, second)

    flow.forward = True  # type: ignore[attr-defined]
    by_flow = MotionSmoothness(FlowInterpolator(flow)).describe(video, [""])
    averaged = MotionSmoothness(networks.Average()).describe(video, [""])
    assert by_flow[0, 0] > 0.99 > averaged[0, 0]


def test_raft_sees_frames_that_are_large_enough_and_its_flow_is_scaled_back() -> None:
    def network(first: torch.Tensor, second: torch.Tensor, num_flow_updates: int) -> list[torch.Tensor]:
        assert (first.shape, num_flow_updates) == ((1, 3, 128, 192), 20)
        assert first.abs().max() <= 1
        return [torch.full((1, 2, 128, 192), 8.0)]

    flow = RaftFlow(network)(torch.rand(1, 3, 32, 47) * 255, torch.rand(1, 3, 32, 47) * 255)
    assert flow.shape == (1, 2, 32, 47)
    assert torch.allclose(flow, torch.tensor(2.0))


def test_image_features_are_those_of_transformers(made: Path) -> None:
    """A picture of the encoder's own size needs no resizing; the class token of the whole model is the reference."""
    picture = noise(3, 3, 32, 32)
    pixels = (picture / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    model = transformers.ViTModel.from_pretrained(made / "dino", add_pooling_layer=False).eval()
    with torch.no_grad():
        expected = model(pixels).last_hidden_state[:, 0]
    found = ImageEncoder.load(made / "dino").images(picture)
    assert torch.allclose(found, torch.nn.functional.normalize(expected, dim=-1), atol=1e-5)
    wide = FrameConsistency(ImageEncoder.load(made / "dino"), "").describe(noise(1, 3, 3, 16, 40), [""])
    assert 0 <= wide[0, 0] <= 1


def test_an_encoder_without_a_class_token_is_refused(tmp_path: Path) -> None:
    half = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.SiglipVisionConfig(**half, image_size=32, patch_size=8)
    transformers.SiglipVisionModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds a SiglipVisionModel, which has no class token"):
        ImageEncoder.load(tmp_path)


VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
       "image_size": 32, "patch_size": 8}  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["vit", "deit", "beit", "dinov2", "dinov3_vit", "data2vec-vision", "clip_vision_model"]
)
def test_an_image_encoder_gives_a_picture_the_same_features_twice(kind: str, tmp_path: Path) -> None:
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **VIT)).save_pretrained(tmp_path)
    encoder, picture = ImageEncoder.load(tmp_path), noise(3, 3, 32, 32)
    assert torch.equal(encoder.images(picture), encoder.images(picture))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("vit_mae", "holds a ViTMAEModel, whose features of a picture differ from call to call; a ViTMAE masks"),
        ("timesformer", "holds a TimesformerModel, which cannot encode a picture: not enough values"),
    ],
)
def test_an_encoder_that_is_random_or_reads_no_pictures_is_refused(kind: str, words: str, tmp_path: Path) -> None:
    transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **VIT)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=words):
        ImageEncoder.load(tmp_path)


def test_a_masked_autoencoder_saved_as_a_vit_is_taken(tmp_path: Path) -> None:
    """What the message advises."""
    transformers.ViTMAEModel(transformers.ViTMAEConfig(**VIT)).save_pretrained(tmp_path / "mae")
    model = transformers.ViTModel.from_pretrained(tmp_path / "mae", add_pooling_layer=False)
    model.save_pretrained(tmp_path / "vit")
    assert ImageEncoder.load(tmp_path / "vit").images(noise(2, 3, 32, 32)).shape == (2, 16)


def test_alignment_is_the_cosine_of_transformers(made: Path) -> None:
    video, prompts = noise(2, 3, 3, 32, 32), ["a r g", "x e"]
    found = TextAlignment(ClipEncoder.load(made / "clip", texts=True)).describe(video, prompts)[:, 0]
    model = transformers.CLIPModel.from_pretrained(made / "clip").eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(made / "clip")
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        for clip, prompt, value in zip(video, prompts, found, strict=True):
            output = model(**tokenizer([prompt], return_tensors="pt"), pixel_values=(clip / 255 - mean) / std)
            assert value == pytest.approx(float((output.image_embeds @ output.text_embeds.T).mean()), abs=1e-5)


def test_video_features(made: Path) -> None:
    assert spread(16, 4).tolist() == [0, 5, 10, 15]
    video = noise(5, 6, 3, 20, 24)
    folder = load_video_encoder(made / "videomae")
    assert folder(video).shape == (5, 16)
    assert torch.allclose(folder(video[3:4]), folder(video)[3:4], atol=1e-5)
    assert torch.equal(folder(video), folder(video))
    script = load_video_encoder(made / "means.pt")
    assert torch.allclose(script(video), video.float().mean(dim=(2, 3, 4)) / 255)


@pytest.mark.parametrize("pooled", [True, False])
def test_videomae_gives_what_its_classifier_reads(pooled: bool, tmp_path: Path) -> None:
    whole = transformers.VideoMAEForVideoClassification.from_pretrained(
        networks.videomae(tmp_path / "videomae", use_mean_pooling=pooled)
    ).eval()
    video = noise(2, 4, 3, 16, 16)  # of its size and length
    features = load_video_encoder(tmp_path / "videomae")(video)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    pixels = (video / 255 - mean) / std
    with torch.no_grad():
        expected = whole(pixel_values=pixels).logits
        assert torch.allclose(whole.classifier(features), expected, atol=1e-5)


def test_captions_and_real_clips_are_those_held_out() -> None:
    source = HeldOutClips(CLIPS, None, 4, seed=1)  # type: ignore[arg-type]
    ((real, captions),) = source.real()
    held = {clip.caption: clip.video_TCHW for clip in CLIPS.validation}  # type: ignore[attr-defined]
    assert captions == source.prompts
    assert all(torch.equal(held[caption], clip) for caption, clip in zip(captions, real, strict=True))
    ((other, _),) = source.other()
    assert len(other) == 4
    assert HeldOutClips(CLIPS, None, 99).identity[1] == tuple(range(len(CLIPS.validation)))  # type: ignore[arg-type]


OPTIONS: dict[str, dict[str, Any]] = {
    "temporal_flickering": {},
    "dynamic_degree": {"flow": "flow.pt"},
    "motion_smoothness": {"interpolator": "mid.pt"},
    "subject_consistency": {"encoder": "dino"},
    "background_consistency": {"encoder": "clip"},
    "text_alignment": {"encoder": "clip"},
    "frechet_video_distance": {"encoder": "means.pt"},
}


def context(root: Path, seed: int = 0) -> QualityContext:
    return SearchInputs(SPACE, supernet=root / "supernet", clips=lambda: CLIPS, seed=seed, base=root)


def build(name: str, root: Path, **options: Any) -> Any:
    return make_metric(name, metric_options(name, OPTIONS[name] | {"clips": 2, "steps": 1} | options), context(root))


@pytest.mark.parametrize("name", OPTIONS)
def test_every_metric_scores_an_architecture(made: Path, name: str) -> None:
    metric = build(name, made)
    score = metric.score(SPACE.smallest())
    assert isinstance(metric, ClipQuality)
    assert np.isfinite(score)
    assert isinstance(score, MeanScore) == (name != "frechet_video_distance")
    assert metric.direction == ("minimize" if name == "frechet_video_distance" else "maximize")
    assert build(name, made, steps=2).fingerprint != metric.fingerprint


class TestConsistency(QualityMetricConformance):
    metric = "subject_consistency"
    options = {"encoder": "dino", "clips": 2, "steps": 1}
    root: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def _inputs(self, made: Path) -> None:
        type(self).root = made

    def context(self, seed: int = 0) -> QualityContext:
        return context(self.root, seed)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("subject_consistency", {"encoder": None}, "needs the option encoder; docs/quality.md says which"),
        ("subject_consistency", {"encoder": "nowhere"}, "nowhere: encoder: no such file or folder"),
        ("subject_consistency", {"encoder": "supernet"}, "holds no config.json"),
        ("subject_consistency", {"encoder": "videomae"}, "video"),
        ("background_consistency", {"encoder": "dino"}, "holds a vit, where CLIP is needed"),
        ("text_alignment", {"encoder": "dino"}, "holds a vit, where CLIP is needed"),
        ("dynamic_degree", {"flow": "mid.pt"}, "returns .* for .*a flow has the shape"),
        ("motion_smoothness", {"flow": "flow.pt"}, "takes one of the options flow or interpolator"),
        ("motion_smoothness", {"interpolator": "means.pt"}, "means.pt: "),
        ("frechet_video_distance", {"encoder": "clip"}, "holds a clip, which encodes no clips"),
        ("frechet_video_distance", {"encoder": "dino/config.json"}, "is not a TorchScript file"),
    ],
)
def test_a_wrong_network_is_one_clear_error(made: Path, name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, CheckpointError), match=message):
        build(name, made, **options).score(SPACE.smallest())


def test_a_file_that_is_no_flow_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flow.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        load_flow(tmp_path / "flow.pth")


def test_the_weights_of_raft_are_loaded(tmp_path: Path) -> None:
    try:
        from torchvision.models.optical_flow import raft_small
    except (ImportError, RuntimeError):  # RuntimeError: a torchvision of another torch
        torch.save({"a": torch.zeros(1)}, tmp_path / "raft.pth")
        with pytest.raises(ConfigError, match="weights of RAFT need torchvision"):
            load_flow(tmp_path / "raft.pth")
        return
    torch.manual_seed(0)
    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pth")
    frames = noise(2, 3, 40, 48).float()
    assert load_flow(tmp_path / "raft.pth")(frames, frames).shape == (2, 2, 40, 48)
