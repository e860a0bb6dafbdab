"""A quality metric in its own package: the capacity of a network, which needs no training.

Install the package and name the metric:

    pip install ./examples/custom_metric
    nas search search_spaces/quickstart.yaml --table latency_tables/quickstart-amd_epyc-onnxruntime.csv \
        --study capacity --metric capacity --metric-option attention_bonus=0.2
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from nas.files import StrictModel
from nas.models import network_cost
from nas.quality import QualityContext, QualityMetric
from nas.space import Architecture, SearchSpace


class Capacity(QualityMetric):
    """The logarithm of the number of the network's parameters, with a bonus for each attention layer.

    Args:
        space: The search space.
        attention_bonus: The bonus.
    """

    name = "capacity"
    direction = "maximize"

    class Config(StrictModel):
        """Options of the metric; on the command line, `--metric-option attention_bonus=0.2`.

        Args:
            attention_bonus: Added for each attention layer.
        """

        attention_bonus: Annotated[float, Field(ge=0, le=10)] = 0.1

    def __init__(self, space: SearchSpace, attention_bonus: float) -> None:
        self.space, self.attention_bonus = space, attention_bonus

    @classmethod
    def create(cls, config: Config, context: QualityContext) -> Capacity:
        return cls(context.space, config.attention_bonus)

    def score(self, architecture: Architecture) -> float:
        attention = sum("attention" in choice for choice in architecture.choices)
        parameters = network_cost(self.space.lower(architecture)).parameters
        return math.log10(parameters) + self.attention_bonus * attention
