"""The results of a study: its evaluations, their front, and the members to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nas.errors import BudgetError
from nas.quality.base import Direction
from nas.search.latencies.devices import EXTRAPOLATED, SHARE, WORST, LatencyBudget, device_limits
from nas.search.latencies.over_budget import over_budgets
from nas.search.noise.agreement import HalvesAgreement, halves_agreement
from nas.search.noise.halving import comparable_scores
from nas.search.pareto import knee, pareto_front
from nas.search.results.evaluation import Evaluation, FrontMember
from nas.search.storage.contents import StudyDevice
from nas.search.storage.final_scores import FinalScores


@dataclass(frozen=True)
class StudyRecord:
    """The contents of a study.

    Args:
        name: Name of the study.
        where: The storage, for messages.
        space: Name of the search space.
        quality: Name of the quality metric.
        direction: Its direction.
        steps: Denoising steps per clip, for which latencies are predicted.
        device: The device, for which latencies are predicted.
        runtime: How the network is executed there.
        latency_budget_ms: The study's latency budget, if it had one, and one device.
        evaluations: Every architecture scored, in the order of their trials.
        failed: Number of architectures whose evaluation failed.
        final_scores: Scores of the second stage, if there are any.
        waiting: In a record made by `final`: members of the search's front without a score of the second stage.
        devices: The devices by their names, if there are several.
        limits_ms: The latency budgets of several devices.
        which: With several devices, the one whose latency is minimised, or `worst`.
        weights: The kind of compressed weights that architectures were scored with, if any.
    """

    name: str
    where: str
    space: str
    quality: str
    direction: Direction
    steps: int
    device: str
    runtime: str
    latency_budget_ms: float | None
    evaluations: tuple[Evaluation, ...]
    failed: int
    final_scores: FinalScores | None = None
    waiting: int = 0
    devices: Mapping[str, StudyDevice] = field(default_factory=dict, hash=False)
    limits_ms: Mapping[str, float] = field(default_factory=dict, hash=False)
    which: str | None = None
    weights: str | None = None

    @property
    def latency_budget(self) -> LatencyBudget | None:
        """The study's latency budget: a number, or with several devices a number for each that has one."""
        return self.limits_ms or None if self.devices else self.latency_budget_ms

    @property
    def of_shares(self) -> bool:
        """Whether the second objective is a share of a budget, without unit, instead of milliseconds."""
        return self.which == WORST

    @property
    def second_text(self) -> str:
        """What is minimised beside quality, in words; empty if it is the latency on the only device."""
        if self.which == WORST:
            return f"{SHARE} (no unit, 1 is on the budget)"
        return "" if self.which is None else f"latency on {self.which}"

    def device_limits(self, budget: LatencyBudget | None) -> dict[str, float]:
        """A latency budget as milliseconds by device; raises `ConfigError` if it names an unknown one, or none."""
        if self.devices:
            return device_limits(budget, list(self.devices), where=f"study {self.name}")
        only = self.device.removesuffix(EXTRAPOLATED)
        return device_limits(budget, [only], where=f"study {self.name}")

    def within(self, budget: LatencyBudget | None) -> StudyRecord:
        """The study of the evaluations that meet a latency budget; raises as `device_limits`."""
        limits_ms = self.device_limits(budget)
        return replace(
            self,
            evaluations=tuple(
                scored
                for scored in self.evaluations
                if all(scored.latency_on(device) <= limit_ms for device, limit_ms in limits_ms.items())
            ),
        )

    @property
    def searched(self) -> StudyRecord:
        """The study without the scores of the second stage."""
        return replace(self, final_scores=None)

    @property
    def final(self) -> StudyRecord:
        """The study of the architectures that were scored again, with their scores of the second stage.

        Without a second stage, it is the study itself. Scores of the two stages are never compared with each other, so
        architectures that were not scored again are not in it. Scores with different numbers of parts are compared on
        the parts that they share (`comparable_scores`).
        """
        if self.final_scores is None:
            return self
        failed, parts = self.final_scores.failures, self.final_scores.parts
        again = {**self.final_scores.scores, **comparable_scores(parts)}
        waiting = [member for member in self.front if member.architecture.id not in {**again, **failed}]
        return replace(
            self,
            quality=self.final_scores.quality,
            direction=self.final_scores.direction,
            evaluations=tuple(
                replace(
                    evaluation,
                    quality=again[evaluation.architecture.id],
                    search_quality=evaluation.quality,
                    quality_parts=parts.get(evaluation.architecture.id, ()),
                )
                for evaluation in self.evaluations
                if evaluation.architecture.id in again
            ),
            failed=len(failed),
            final_scores=None,
            waiting=len(waiting),
        )

    @property
    def agreement(self) -> HalvesAgreement | None:
        """How well two halves of the held-out data agree on the order of the architectures; `None` if unknown."""
        return halves_agreement([evaluation.quality_parts for evaluation in self.evaluations])

    @property
    def one_call(self) -> bool:
        """Whether a result is one call of the searched network, with nothing before, after or repeated."""
        return bool(self.evaluations) and all(
            evaluation.unet_ms == evaluation.latency_ms for evaluation in self.evaluations
        )

    @property
    def fallen(self) -> tuple[FrontMember, ...]:
        """Members of the search's front that were scored again and left the front, with the search's scores."""
        if self.final_scores is None:
            return ()
        stayed = {member.trial for member in self.final.front}
        again = self.final_scores.scores
        return tuple(member for member in self.front if member.architecture.id in again and member.trial not in stayed)

    @property
    def provenance(self) -> tuple[str, ...]:
        """Where the latencies come from: one or more of `measured`, `estimated` and `published`."""
        everywhere = {one.provenance for evaluation in self.evaluations for one in evaluation.devices.values()}
        return tuple(sorted(everywhere | {evaluation.provenance for evaluation in self.evaluations}))

    def provenance_on(self, device: str) -> tuple[str, ...]:
        """The same for one of several devices."""
        return tuple(sorted({evaluation.devices[device].provenance for evaluation in self.evaluations}))

    @property
    def directions(self) -> tuple[Direction, Direction]:
        """Directions of quality and latency."""
        return (self.direction, "minimize")

    @property
    def front(self) -> tuple[FrontMember, ...]:
        """The feasible evaluations that no other feasible one dominates, fastest first."""
        feasible = [evaluation for evaluation in self.evaluations if evaluation.feasible]
        mask = pareto_front(_points(feasible), self.directions)
        members = [member for member, on_front in zip(feasible, mask, strict=True) if on_front]
        return tuple(sorted(members, key=lambda member: (member.second, member.trial)))

    def best_within(self, latency_budget: LatencyBudget) -> FrontMember:
        """The member of best quality that meets a latency budget.

        With several devices, it is the best evaluation that meets the budgets of all: an architecture that is slow on
        the device of the second objective may be the only one that is fast on another.

        Raises:
            BudgetError: None does; the message names the fastest one.
            ConfigError: The budget names an unknown device, or none where there are several.
        """
        self._members()
        within = self.within(latency_budget)
        if not within.front:
            raise self._over(self.device_limits(latency_budget))
        # Along a front, quality improves with latency, so the slowest member within the budget is the best.
        return within.front[-1]

    def _over(self, limits_ms: Mapping[str, float]) -> BudgetError:
        def excess(member: FrontMember) -> float:
            return max(member.latency_on(device) / limit_ms for device, limit_ms in limits_ms.items())

        limits_ms = limits_ms if self.devices else {"": min(limits_ms.values())}
        closest = min(self.front, key=excess)
        latencies_ms = {device: closest.latency_on(device) for device in limits_ms}
        return over_budgets(self.name, limits_ms, closest.architecture, latencies_ms)

    def knee(self) -> FrontMember:
        """The member beyond which more latency buys little quality.

        Raises:
            BudgetError: The front is empty.
        """
        members = self._members()
        return members[knee(_points(members), self.directions)]

    def _members(self) -> tuple[FrontMember, ...]:
        if self.waiting:
            raise BudgetError(
                f"{self.waiting} members of the search's front have no score of {self.quality} yet",
                where=f"study {self.name}",
                hint="resume `nas rescore`, or take the search's own front (--search-scores)",
            )
        if not self.front:
            raise BudgetError(empty_front(self), where=self.where, hint="resume it with `nas search`")
        return self.front


def empty_front(record: StudyRecord) -> str:
    """Why a study has no front."""
    scored = len(record.evaluations)
    if not scored and not record.failed:
        return f"study {record.name} has no evaluations yet"
    return f"study {record.name} has no front: {scored} architectures scored, {record.failed} failed, none feasible"


def _points(evaluations: Sequence[Evaluation]) -> list[tuple[float, float]]:
    return [(evaluation.quality, evaluation.second) for evaluation in evaluations]
