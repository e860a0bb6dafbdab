"""Measuring one block on a phone: pairs of its two chains, and a reference that shows when the phone throttles."""

from __future__ import annotations

import logging
import time

import numpy as np
import torch

from nas.compression import compress_module, compressed_kind
from nas.errors import OutOfMemoryError, RuntimeUnavailableError
from nas.latency.measuring.chains import (
    LEAST_COPIES,
    REFERENCE_COPIES,
    NoDifferenceError,
    Pairs,
    best_level,
    chain_length,
    finished_chain,
    shorter_chains,
)
from nas.latency.measuring.settings import PhoneMeasurementSettings
from nas.latency.measuring.timing import Timing
from nas.latency.profiling.conversions import Conversions, Make
from nas.latency.profiling.phone_bench import Bench, BlockChain, BlockFailedError, Loaded
from nas.latency.profiling.phone_recorder import PhoneRecorder, now
from nas.latency.tables.rows import PLACEMENT, LatencyRow
from nas.runtimes import compare
from nas.space import Block

logger = logging.getLogger("nas")


class ChainMeter:
    """Measures blocks one after another.

    Args:
        bench: Calls chains.
        conversions: Converts chains.
        recorder: Writes samples.
        measurement: How precisely to measure.
        reference: The block of the reference chain.
    """

    def __init__(
        self,
        bench: Bench,
        conversions: Conversions,
        recorder: PhoneRecorder,
        measurement: PhoneMeasurementSettings,
        reference: Block,
    ) -> None:
        self._bench, self._conversions, self._recorder = bench, conversions, recorder
        self._measurement, self._reference = measurement, BlockChain(reference, REFERENCE_COPIES)
        self._cool_downs = 0
        self._last_look: tuple[int, float] | None = None

    @property
    def reference(self) -> str:
        """Key of the block of the reference chain."""
        return self._reference.block.key

    def start(self) -> None:
        """Load the reference.

        Raises:
            BlockFailedError: It cannot be measured on this phone.
            PhoneGoneError: The phone did not come back.
        """
        self._convert(self._reference)
        self._bench.load(self._reference)
        self._bench.known_good = self._reference

    def measure(self, block: Block) -> LatencyRow:
        """The row of a block; raises `PhoneGoneError` if the phone does not come back."""
        self._cool_downs = 0
        short = BlockChain(block, 1)
        chains = [short]
        try:
            self._convert(short)
            loaded = self._bench.load(short)
            for copies in shorter_chains(self._copies(short)):
                chains.append(BlockChain(block, copies))
                if self._fits(chains[-1], last=copies == LEAST_COPIES):
                    break
            long = chains[-1]
            placement = self._placement(short)
            timing = self._until_finished(block.key, short, long)
        except BlockFailedError as error:
            return _failed(block, error)
        finally:
            for chain in chains:
                if chain != self._reference:
                    self._bench.unload(chain)
        size = self._conversions.package_bytes(short.name)
        weights = self._conversions.runtime.settings.weights
        return _row(block, timing, loaded, {"package_bytes": size, **placement, **_parity(short, loaded, weights)})

    def _fits(self, long: BlockChain, *, last: bool) -> bool:
        """Load a long chain of a block that runs alone; raises `BlockFailedError` if not even the last one fits."""
        try:
            self._convert(long)
            self._bench.load(long)
        except BlockFailedError as error:
            if last:
                raise
            logger.warning(
                "%s: a chain of %d does not run (%s); trying a shorter one", long.block.key, long.copies, error
            )
            self._bench.unload(long)
            return False
        return True

    def _convert(self, chain: BlockChain) -> None:
        make: Make = chain.make
        try:
            self._conversions.convert({chain.name: make}, lambda _: None)
            self._conversions.require_memory(chain.name)
        except OutOfMemoryError as error:
            raise BlockFailedError("out_of_memory", error.what) from error
        except RuntimeUnavailableError as error:
            raise BlockFailedError("failed", error.what) from error

    def _copies(self, short: BlockChain) -> int:
        """Length of the long chain: that of an interrupted run, else chosen from a first call of the block."""
        earlier = self._recorder.series(short.block.key, self.reference)
        if earlier:
            return earlier[-1].copies[1]
        size, call_ms = self._conversions.package_bytes(short.name), self._recorder.call_overhead_ms() or 0.0
        return chain_length(self._bench.call_ms(short), call_ms, size, self._measurement)

    def _placement(self, short: BlockChain) -> dict[str, float]:
        """Where the block runs, by column; empty if the phone does not tell, because latencies do not depend on it."""
        try:
            placement = self._bench.placement(short)
        except BlockFailedError as error:
            logger.warning("the phone does not report where %s runs: %s", short.block.key, error)
            return {}
        shares = {f"ops_on_{engine}": share for engine, share in (placement.ops or {}).items()}
        shares |= {f"cost_on_{engine}": share for engine, share in (placement.cost or {}).items()}
        assert shares.keys() <= set(PLACEMENT)
        return shares

    def _until_finished(self, key: str, short: BlockChain, long: BlockChain) -> Timing:
        while True:
            series = self._recorder.series(key, self.reference)
            best_ms = best_level(self._recorder.levels_ms(self.reference))
            try:
                timing = finished_chain(series, best_ms, self._measurement)
            except NoDifferenceError as error:
                raise BlockFailedError("failed", error.what) from error
            if timing is not None:
                return timing
            before_ms = self._cool_reference_ms(best_ms)
            pairs = [self._pair(short, long) for _ in range(self._measurement.pairs_between)]
            after_ms = self._look_ms(best_ms)
            short_ms, long_ms = zip(*pairs, strict=True)
            self._recorder.append(
                key, self.reference, Pairs((before_ms, after_ms), short_ms, long_ms, (1, long.copies))
            )

    def _pair(self, short: BlockChain, long: BlockChain) -> tuple[float, float]:
        """A call of each, right after one another; repeated if the phone was interrupted in between."""
        while True:
            interruptions = self._bench.interruptions
            for chain in (short, long):
                self._bench.load(chain)
            pair = self._bench.call_ms(short), self._bench.call_ms(long)
            if self._bench.interruptions == interruptions:
                return pair

    def _cool_reference_ms(self, best_ms: float) -> float:
        """The reference's time now, after letting the phone cool down if it is hot."""
        if self._last_look is not None and self._last_look[0] == self._bench.interruptions:
            level_ms = self._last_look[1]
        else:
            level_ms = self._look_ms(best_ms)
        while self._hot(level_ms, best_ms) and self._cool_downs < self._measurement.cool_downs:
            pause_s = min(self._measurement.cool_down_s * 2**self._cool_downs, self._measurement.max_cool_down_s)
            slower = 100 * (level_ms / best_ms - 1)
            logger.warning(
                "the phone is %.0f%% slower than at its best; letting it cool down for %.0f s", slower, pause_s
            )
            self._cool_downs += 1
            time.sleep(pause_s)
            level_ms = self._look_ms(best_ms)
        return level_ms

    def _look_ms(self, best_ms: float) -> float:
        """The reference's time now; it is called again after a slow call, because a single one is no drift."""
        level_ms = self._bench.call_ms(self._reference)
        if self._hot(level_ms, best_ms):
            level_ms = min(level_ms, self._bench.call_ms(self._reference))
        self._last_look = (self._bench.interruptions, level_ms)
        return level_ms

    def _hot(self, level_ms: float, best_ms: float) -> bool:
        return level_ms > best_ms * (1 + self._measurement.drift_percent / 100)


def _row(block: Block, timing: Timing, loaded: Loaded, facts: dict[str, object]) -> LatencyRow:
    summary = timing.summary
    return LatencyRow.model_validate(
        {
            "key": block.key,
            "kind": block.kind,
            "latency_ms": summary.latency_ms,
            "ci_low_ms": summary.ci_low_ms,
            "ci_high_ms": summary.ci_high_ms,
            "median_ms": summary.median_ms,
            "p90_ms": summary.p90_ms,
            "samples": summary.samples,
            "stopped": timing.stopped,
            "drift_percent": timing.drift_percent,
            "load_ms": loaded.model.load_ms,
            "provenance": "measured",
            "measured_at": now(),
            **facts,
        }
    )


def _failed(block: Block, error: BlockFailedError) -> LatencyRow:
    reason = "".join(character if character.isprintable() else " " for character in error.what).strip()
    return LatencyRow(
        key=block.key,
        kind=block.kind,
        status=error.status,
        reason=reason or "no reason was given",
        provenance="measured",
        measured_at=now(),
    )


def _parity(short: BlockChain, loaded: Loaded, weights: str) -> dict[str, float]:
    """How close the phone's output is to torch's, by column; no PSNR if they are equal, nothing if not finite.

    Args:
        short: The chain that was called.
        loaded: What the phone made of it.
        weights: Kind of its weights; torch gets those of a compressed kind, too.
    """
    made = short.make()
    if (kind := compressed_kind(weights)) is not None:
        compress_module(made.module, kind)
    with torch.inference_mode():
        reference = made.module.eval()(*made.inputs).numpy()
    output = loaded.first.output
    if not np.isfinite(output).all():
        logger.warning("the phone's output of %s is not finite: the largest number in fp16 is 65504", short.block.key)
        return {}
    if not np.isfinite(reference).all():
        return {}
    parity = compare(output, reference)
    largest = {"max_abs_error": parity.max_abs_error}
    return largest | ({"psnr_db": parity.psnr_db} if np.isfinite(parity.psnr_db) else {})
