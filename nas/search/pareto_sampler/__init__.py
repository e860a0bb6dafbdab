"""A sampler for studies of two objectives, of which one is expensive and the other is known in advance.

`sampler` is the interface to Optuna. `domain` maps the finite space to numbers, and `catalogue` holds what is known of
its members. `surrogate` is a Gaussian process of the quality, and `acquisition` the expected gain of a member.
"""

from __future__ import annotations

from nas.search.pareto_sampler.sampler import ParetoSampler

__all__ = ["ParetoSampler"]
