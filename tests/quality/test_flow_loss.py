from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from nas.data import ClipShape, MovingShapes
from nas.models import SuperNet, make_codec, make_text_encoder
from nas.quality import HeldOutFlowLoss
from nas.search.scores import score
from nas.space import Architecture, SearchSpace
from tests.tiny import ONE_LEVEL, TINY

SPACE = TINY | {
    "codec": {"kind": "identity"},
    "prediction": "velocity",
    "backbone": ONE_LEVEL | {"down_block_types": ["CrossAttnDownBlock2D"]},
    "slots": [{"stage": "mid", "candidates": ["none", "conv1d", "self_attention_3d"]}],
}


class Oracle(torch.nn.Module):
    """Answers with the true velocity of the one clip it knows, plus an offset."""

    def __init__(self, clips: MovingShapes, offset: float) -> None:
        super().__init__()
        self.known = clips[0].video_TCHW.float() / 127.5 - 1
        self.offset = torch.nn.Parameter(torch.tensor(offset))
        self.timesteps: list[torch.Tensor] = []

    def forward(
        self, sample: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor, architecture: Architecture
    ) -> torch.Tensor:
        self.timesteps.append(timestep)
        level = timestep.reshape(-1, 1, 1, 1, 1) / 1000
        return (sample - self.known) / level + self.offset


def _setup(count: int = 1) -> tuple[SearchSpace, MovingShapes]:
    return SearchSpace.from_dict(SPACE), MovingShapes(ClipShape(4, 16, 16, 8), clips=count, seed=0)


def _metric(space: SearchSpace, clips: MovingShapes, network: torch.nn.Module, **settings: int) -> HeldOutFlowLoss:
    settings = {"batches": 1, **settings}
    return HeldOutFlowLoss(network, make_text_encoder(space), make_codec(space), clips, **settings)  # type: ignore[arg-type]


def test_a_perfect_prediction_has_no_loss_and_an_offset_its_square() -> None:
    space, clips = _setup()
    assert _metric(space, clips, Oracle(clips, 0.0)).score(space.smallest()) < 1e-6
    assert _metric(space, clips, Oracle(clips, 0.5)).score(space.smallest()) == pytest.approx(0.25, rel=1e-3, abs=1e-4)


def test_noise_levels_are_the_mid_quantiles_of_the_logit_normal() -> None:
    space, clips = _setup()
    oracle = Oracle(clips, 0.0)
    _metric(space, clips, oracle, batch_size=4).score(space.smallest())
    logit = torch.logit(oracle.timesteps[0].double() / 1000)
    expected = torch.tensor(norm.ppf([0.125, 0.375, 0.625, 0.875]))
    torch.testing.assert_close(logit, expected, rtol=1e-3, atol=1e-3)


def test_the_same_architecture_scores_the_same_in_any_order() -> None:
    space, clips = _setup(6)
    torch.manual_seed(0)
    supernet, encoder = SuperNet(space), make_text_encoder(space)
    for parameter in supernet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    metric = HeldOutFlowLoss(supernet, encoder, make_codec(space), clips, seed=1, batches=2, batch_size=3)
    architectures = list(space.enumerate())
    scores = [metric.score(architecture) for architecture in architectures]
    assert scores[::-1] == [metric.score(architecture) for architecture in reversed(architectures)]
    assert len(set(scores)) == len(scores)
    again = HeldOutFlowLoss(supernet, encoder, make_codec(space), clips, seed=1, batches=2, batch_size=3)
    assert again.score(architectures[1]) == scores[1]
    other = HeldOutFlowLoss(supernet, encoder, make_codec(space), clips, seed=2, batches=2, batch_size=3)
    assert other.score(architectures[1]) != scores[1]


def test_parts_are_the_losses_of_the_batches_and_each_batch_is_run_once() -> None:
    space, clips = _setup(6)
    oracle = Oracle(clips, 0.5)
    metric = _metric(space, clips, oracle, batches=3, batch_size=2)
    parts = metric.score(space.smallest()).parts
    assert len(oracle.timesteps) == len(parts) == 3

    scores = [_metric(space, clips, oracle, batches=count, batch_size=2).score(space.smallest()) for count in (1, 2, 3)]
    expected = [scores[0], 2 * scores[1] - scores[0], 3 * scores[2] - 2 * scores[1]]
    assert parts == pytest.approx(expected, rel=1e-5)
    assert len(set(parts)) == 3
    assert metric.score(space.smallest()) == pytest.approx(sum(parts) / 3, rel=1e-12)


def test_a_score_that_a_subclass_changes_has_no_parts_of_another() -> None:
    class Penalised(HeldOutFlowLoss):
        def score(self, architecture: Architecture) -> float:  # type: ignore[override]
            return super().score(architecture) + 1

    space, clips = _setup()
    one, encoder, codec = space.smallest(), make_text_encoder(space), make_codec(space)
    metric = Penalised(Oracle(clips, 0.5), encoder, codec, clips, batches=2)  # type: ignore[arg-type]
    found = score(metric, one)
    assert found.value == metric.score(one) >= 1
    assert found.parts == ()
    whole = score(HeldOutFlowLoss(Oracle(clips, 0.5), encoder, codec, clips, batches=2), one)  # type: ignore[arg-type]
    assert len(whole.parts) == 2
