"""The search of a run, and the devices that it is for beside this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from nas.files import UserPath
from nas.latency import LatencyTable
from nas.runtimes import Runtime
from nas.search import SearchConfig
from nas.search.latencies.devices import LatencyBudget, check_devices, device_limits
from nas.space import Budgets


class SearchStage(SearchConfig):
    """How the run searches: the settings of a search, and the devices that it is for beside this machine.

    Args:
        tables: Latency tables of other devices, relative to this file; `latency` then says what is minimised.
    """

    tables: tuple[UserPath, ...] = ()

    _newer: ClassVar[tuple[str, ...]] = (*SearchConfig._newer, "tables")

    def check_devices(self, runtime: Runtime, of_space: Budgets, picked: LatencyBudget | None, base: Path) -> None:
        """Check what is said of devices, which must be known before hours of training.

        Args:
            runtime: What measures this machine, and knows its name.
            of_space: Budgets of the search space.
            picked: Latency budget of the choice from the front.
            base: Folder that the paths of tables start from.

        Raises:
            ConfigError: A device is unknown, or it is not said which latency is minimised.
            TableError: A table is missing or damaged.
        """
        budget = self.budgets.or_else(of_space).latency_ms
        by_device = isinstance(budget, Mapping) or isinstance(picked, Mapping)
        if not (self.tables or self.latency or by_device):
            return  # there is one device, which need not be named
        others = [LatencyTable.load(base / table).metadata.device for table in self.tables]
        devices = sorted({runtime.device, *others})
        check_devices(devices, budget, self.latency)
        device_limits(picked, devices, where="pick.latency_budget_ms")
