"""A sampler for searches where one objective takes time and the other is known beforehand.

`sampler` speaks with Optuna; `domain` is the finite space in numbers, `catalogue` what is known of its members,
`surrogate` a Gaussian process of the quality, `acquisition` the gain that is expected of a member.
"""

from __future__ import annotations

from nas.search.pareto_sampler.sampler import ParetoSampler

__all__ = ["ParetoSampler"]
