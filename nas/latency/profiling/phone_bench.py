"""Chains of blocks on a phone: loaded when they are called, and loaded again after a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from nas.errors import NasError, OutOfMemoryError
from nas.latency.tables.rows import Status
from nas.models import example_inputs
from nas.runtimes import Array, to_arrays
from nas.runtimes.networks import Convertible, chain_convertible
from nas.runtimes.phone import (
    ComputePlacement,
    ModelFailedError,
    NoAnswerError,
    PhoneGoneError,
    PhoneLostError,
    PhoneModel,
    PhoneSession,
    Prediction,
    Recovery,
)
from nas.space import Block

logger = logging.getLogger("nas")

_T = TypeVar("_T")
_Fault = PhoneLostError | ModelFailedError | OutOfMemoryError


class BlockFailedError(NasError):
    """A block cannot be measured on this phone.

    Args:
        status: The status of its row.
        reason: The reason, in a line.
    """

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status: Status = status


@dataclass(frozen=True)
class BlockChain:
    """Several copies of a block in a row."""

    block: Block
    copies: int

    @property
    def name(self) -> str:
        """Its name among conversions, which contains everything that the package depends on."""
        return f"{self.block.key} x{self.copies}"

    @property
    def make(self) -> Callable[[], Convertible]:
        """A function that makes its module with example inputs."""
        return partial(chain_convertible, self.block, self.copies)

    def inputs(self) -> list[Array]:
        """Its example inputs."""
        return to_arrays(example_inputs(self.block))


@dataclass(frozen=True)
class Loaded:
    """A chain on the phone.

    Args:
        model: The model.
        inputs: The inputs it is called with.
        first: Its first call after loading, which is slower than others; only its output is used.
    """

    model: PhoneModel
    inputs: list[Array]
    first: Prediction


class Bench:
    """Calls chains on a phone, and restores the connection, the app and the models when they are lost.

    A fault counts against the chain that was called, unless the phone was disconnected or locked. A chain with
    `WaitSettings.attempts` faults in one request has failed.

    Args:
        session: The session, which launches the app when it is first needed.
        package: Gives the path of a chain's package.
        compute_unit: Processors that chains may run on.

    Attributes:
        interruptions: How often phone, app or answers were lost.
        known_good: A chain that has run here. If it still runs, a crash is the fault of the crashing block, not of
            the phone.
    """

    def __init__(self, session: PhoneSession, package: Callable[[BlockChain], Path], compute_unit: str) -> None:
        self.interruptions = 0
        self.known_good: BlockChain | None = None
        self._session, self._package, self._compute_unit = session, package, compute_unit
        self._recovery = Recovery(session)
        self._loaded: dict[str, Loaded] = {}

    def load(self, chain: BlockChain) -> Loaded:
        """A chain, loaded and called once.

        Raises:
            BlockFailedError: It cannot be.
            PhoneGoneError: The phone did not come back.
        """
        return self._ask(chain, lambda loaded: loaded)

    def call_ms(self, chain: BlockChain) -> float:
        """Milliseconds of one call of a chain; raises as `load`."""
        return self._ask(chain, lambda loaded: self._session.predict(loaded.model, loaded.inputs).duration_ms)

    def placement(self, chain: BlockChain) -> ComputePlacement:
        """The processors of a chain's operations; raises as `load`."""
        return self._ask(chain, lambda loaded: self._session.placement(loaded.model))

    def unload(self, chain: BlockChain) -> None:
        """Unload a chain; if the phone does not answer, the app keeps it until it ends."""
        loaded = self._loaded.pop(chain.name, None)
        if loaded is None:
            return
        try:
            self._session.unload(loaded.model)
        except (PhoneLostError, ModelFailedError, OutOfMemoryError) as error:
            logger.info("%s stays loaded: %s", chain.name, error)

    def _ask(self, chain: BlockChain, action: Callable[[Loaded], _T]) -> _T:
        faults = 0
        while True:
            try:
                result = action(self._loaded.get(chain.name) or self._load(chain))
            except (PhoneLostError, ModelFailedError, OutOfMemoryError) as error:
                faults += self._recover(error, again=faults > 0)
                logger.info("%s: %s", chain.name, error)
                if faults >= self._session.wait_settings.attempts:
                    raise self._failure(chain, error) from error
            else:
                self._recovery.answered()
                return result

    def _load(self, chain: BlockChain) -> Loaded:
        if not self._session.alive():
            raise PhoneLostError("the app is not running")
        model = self._session.load(self._package(chain), self._compute_unit)
        inputs = chain.inputs()
        loaded = Loaded(model, inputs, self._session.predict(model, inputs))
        self._loaded[chain.name] = loaded
        return loaded

    def _recover(self, error: _Fault, *, again: bool) -> int:
        """Restore what can be restored; returns the number of faults to count."""
        if not isinstance(error, PhoneLostError):
            self._recovery.answered()
            return 1
        self.interruptions += 1
        if isinstance(error, NoAnswerError) and again:
            self._session.stop()  # an app that does not answer twice has hung
        started = self._session.launches > 0
        if not isinstance(error, NoAnswerError) or not self._session.alive():
            self._loaded.clear()
        phone_at_fault = self._recovery.restore()
        return int(started and not phone_at_fault)

    def _failure(self, chain: BlockChain, error: _Fault) -> NasError:
        """The error for a chain with too many faults: it has failed, unless nothing else works either.

        Raises:
            PhoneGoneError: A chain that has run here before does not run now.
        """
        lost = isinstance(error, PhoneLostError)
        if chain == self.known_good or (lost and self.known_good is None):
            hint = "unlock the phone, and trust the developer in Settings > General > VPN & Device Management"
            trouble = "the app on the phone does not answer" if lost else "the phone refuses what it ran before"
            return PhoneGoneError(f"{trouble}: {error.what}", hint=hint)
        if self.known_good is not None:
            self.call_ms(self.known_good)
        status: Status = "out_of_memory" if isinstance(error, OutOfMemoryError) else "failed"
        return BlockFailedError(status, error.what)
