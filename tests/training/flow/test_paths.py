"""Which architectures a supernet's steps train, and on what."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data import MovingShapes
from nas.models import SuperNet, make_codec, make_text_encoder, network_cost
from nas.models.flow import flow_loss
from nas.space import SearchSpace
from nas.training import SuperNetConfig, SuperNetTask
from nas.training.engine.task import MODEL
from nas.training.flow.batches import Batch, BatchSource
from nas.training.flow.objective import add_noise
from nas.training.flow.paths import FairPaths, SandwichPaths, path_strategy
from tests.tiny import TINY

SPACE = SearchSpace.from_dict(TINY)


def _task(space: SearchSpace, **settings: object) -> SuperNetTask:
    torch.manual_seed(0)
    supernet = SuperNet(space)
    for parameter in supernet.parameters():  # layers start as the identity, where all architectures agree
        torch.nn.init.normal_(parameter, std=0.1)
    return SuperNetTask(supernet, make_text_encoder(space), SuperNetConfig(seed=5, **settings))


def _batch(space: SearchSpace, clips: MovingShapes) -> Batch:
    return BatchSource(clips.latents(make_codec(space)), make_text_encoder(space), 2, 0, 0.0, seed=1)(0)


@given(seed=st.integers(0, 2**31), rounds=st.integers(1, 5))
def test_fair_sampling_trains_each_candidate_of_a_slot_equally_often(seed: int, rounds: int) -> None:
    strategy = FairPaths(SPACE, seed)
    for place, slot in enumerate(SPACE.slots):
        steps = range(rounds * len(slot.candidates))
        counts = Counter(strategy.paths(step)[0].choices[place] for step in steps)
        assert counts == dict.fromkeys(slot.candidates, rounds)


def test_fair_sampling_reaches_every_architecture() -> None:
    strategy = FairPaths(SPACE, 0)
    assert {strategy.paths(step)[0] for step in range(200)} == set(SPACE.enumerate())


def test_a_sandwich_holds_the_largest_the_smallest_and_random_ones() -> None:
    strategy = SandwichPaths(SPACE, 0, random_paths=3)
    sizes = {each: network_cost(SPACE.lower(each)).parameters for each in SPACE.enumerate()}
    drawn = set()
    for step in range(60):
        largest, smallest, *others = strategy.paths(step)
        assert sizes[largest] == max(sizes.values())
        assert sizes[smallest] == min(sizes.values())
        assert len(others) == 3
        drawn.update(others)
    assert drawn == set(SPACE.enumerate())


@pytest.mark.parametrize("strategy", ["uniform", "fair", "sandwich"])
def test_the_choice_follows_from_seed_and_step_alone(strategy: str) -> None:
    config = SuperNetConfig(strategy=strategy, seed=3)
    one, other = path_strategy(SPACE, config), path_strategy(SearchSpace.from_dict(TINY), config)
    steps = range(40)
    assert [one.paths(step) for step in steps] == [other.paths(step) for step in reversed(steps)][::-1]
    another = path_strategy(SPACE, config.model_copy(update={"seed": 4}))
    assert [one.paths(step) for step in steps] != [another.paths(step) for step in steps]


def test_a_sandwich_teaches_the_others_what_the_largest_predicts(space: SearchSpace, clips: MovingShapes) -> None:
    task, batch = _task(space, strategy="sandwich", random_paths=1), _batch(space, clips)
    loss = task(batch, 4)["loss"]

    noisy = add_noise(batch.video_BTCHW, batch.video_keys.rng(MODEL))
    context_BLD = task.text_encoder(batch.video_tokens_BL)
    largest, *others = task.strategy.paths(4)
    teacher, *pupils = (
        task.unet.extract(each)(noisy.sample_BTCHW, noisy.timestep_B, context_BLD) for each in (largest, *others)
    )
    expected = [flow_loss(teacher, noisy), *(((pupil - teacher) ** 2).mean() for pupil in pupils)]
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_the_largest_learns_from_the_data_alone(space: SearchSpace, clips: MovingShapes) -> None:
    task, batch = _task(space, strategy="sandwich", random_paths=1), _batch(space, clips)
    largest = task.unet.plan(task.strategy.paths(0)[0])
    others = {node.name for each in task.strategy.paths(0)[1:] for node in task.unet.plan(each).nodes}
    alone = [node.name for node in largest.nodes if node.name not in others]
    assert alone
    task(batch, 0)["loss"].backward()

    noisy = add_noise(batch.video_BTCHW, batch.video_keys.rng(MODEL))
    network = task.unet.extract(task.strategy.paths(0)[0])
    loss = flow_loss(network(noisy.sample_BTCHW, noisy.timestep_B, task.text_encoder(batch.video_tokens_BL)), noisy)
    (loss / 3).backward()
    for name in alone:
        for parameter, expected in zip(
            task.unet.get_submodule(name).parameters(), network.get_submodule(name).parameters(), strict=True
        ):
            torch.testing.assert_close(parameter.grad, expected.grad)
            assert parameter.grad is not None


def test_skipped_layers_are_as_if_they_were_not_there(space: SearchSpace, clips: MovingShapes) -> None:
    task, batch = _task(space), _batch(space, clips)
    context_BLD = task.text_encoder(batch.video_tokens_BL)
    inputs = (batch.video_BTCHW, torch.full((2,), 500.0), context_BLD)
    full = space.architecture(["conv1d", "self_attention_3d"])
    layers = [node.name for node in task.unet.plan(full).nodes if node.slot is not None]
    assert len(layers) == 2
    torch.testing.assert_close(task.unet(*inputs, full, layers), task.unet(*inputs, space.smallest()))
    one = space.architecture(["none", "self_attention_3d"])
    torch.testing.assert_close(task.unet(*inputs, full, layers[:1]), task.unet(*inputs, one))
    assert not torch.equal(task.unet(*inputs, full), task.unet(*inputs, one))


def test_layers_are_skipped_at_the_given_rate_and_alike_on_all_processes(space: SearchSpace) -> None:
    task, other = _task(space, skip_probability=0.25), _task(space, skip_probability=0.25)
    full = space.architecture(["conv1d", "self_attention_3d"])
    skipped = [task.skipped(full, step) for step in range(400)]
    assert skipped == [other.skipped(full, step) for step in range(400)]
    assert 0.2 < sum(map(len, skipped)) / 800 < 0.3
    assert {len(each) for each in skipped} == {0, 1, 2}
    assert task.skipped(space.smallest(), 0) == frozenset()


def test_random_paths_mean_nothing_without_a_sandwich() -> None:
    with pytest.raises(ValueError, match="random_paths belongs to strategy sandwich, not to fair"):
        SuperNetConfig(strategy="fair", random_paths=2)
    assert len(path_strategy(SPACE, SuperNetConfig(strategy="sandwich")).paths(0)) == 4
