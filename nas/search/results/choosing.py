"""The choice of one member of a front, for a latency budget or at the knee, with regard to the noise of the scores."""

from __future__ import annotations

from dataclasses import dataclass

from nas.search.latencies.devices import LatencyBudget
from nas.search.noise.differences import Difference, difference
from nas.search.results.evaluation import FrontMember
from nas.search.results.record import StudyRecord


@dataclass(frozen=True)
class Choice:
    """A member of a front, and why it is the one.

    Args:
        member: What is chosen.
        by_score: What the scores alone would choose: the best within the budget, or the knee.
        difference: Of the score of `member` from that of `by_score`; `None` if they are the same.
    """

    member: FrontMember
    by_score: FrontMember
    difference: Difference | None = None

    def sentence(self) -> str:
        """Why a faster member is chosen than the scores alone would; empty if they choose the same."""
        if self.difference is None:
            return ""
        gap = self.difference
        return (
            f"{self.by_score.architecture.id} has the better score, but the difference of {abs(gap.mean):.2g} is "
            f"{gap.errors:.1f} standard errors over {gap.parts} parts of the data, which is noise; "
            f"{self.member.architecture.id} is {self._advantage()} and is taken"
        )

    def _advantage(self) -> str:
        """By how much the member has the smaller second objective, in words."""
        less = self.by_score.second - self.member.second
        if self.member.share is not None:
            return f"{less:.3g} below it in the largest share of a budget"
        return f"{less:,.3g} ms faster{f' on {self.member.device}' if self.member.device else ''}"


def choose(record: StudyRecord, latency_budget_ms: LatencyBudget | None = None) -> Choice:
    """The fastest member of the front that the noise cannot tell from the one that the scores alone would choose.

    Members are compared over the parts of the held-out data that both were scored on. Scores without parts tell no
    noise: the scores alone then decide.

    Args:
        record: The study; `record.searched` uses the front of the search, instead of that of `record.final`.
        latency_budget_ms: The scores alone choose the best within this latency, in a study of several devices within
            latencies by device; without it, the knee.

    Raises:
        BudgetError: No member meets the budget, the front is empty, or members are not scored again yet.
        ConfigError: The budget names an unknown device, or none where there are several.
    """
    best = choose_by_score(record, latency_budget_ms).member
    for member in record.final.within(latency_budget_ms).front:
        if member.second >= best.second:
            break
        gap = difference(member.quality_parts, best.quality_parts)
        if gap is not None and not gap.distinguishable:
            return Choice(member, best, gap)
    return Choice(best, best)


def choose_by_score(record: StudyRecord, latency_budget_ms: LatencyBudget | None = None) -> Choice:
    """The best member within a latency budget, or without one the knee, by the scores alone; see `choose`."""
    final = record.final
    best = final.knee() if latency_budget_ms is None else final.best_within(latency_budget_ms)
    return Choice(best, best)


def pick(record: StudyRecord, latency_budget_ms: LatencyBudget | None = None) -> FrontMember:
    """The member that `choose` chooses; same arguments and errors."""
    return choose(record, latency_budget_ms).member
