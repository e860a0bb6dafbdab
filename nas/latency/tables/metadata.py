"""The metadata of a latency table: device, runtime and measurement, in a JSON file beside its rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    AwareDatetime,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from nas.errors import ConfigError, TableError
from nas.files import StrictModel, fingerprint, parse, read_json, write_json
from nas.latency.measuring.recorded import CHAIN_STATISTIC, STATISTIC
from nas.runtimes.environment import cpu_model, versions

if TYPE_CHECKING:
    from nas.runtimes import RuntimeSettings

SCHEMA_VERSION: Literal[3] = 3

Load = Annotated[float, Field(ge=0, allow_inf_nan=False)]


LeftOut = Literal["families", "chips", "networks"]
"""What was left out of a calibration, to see how far estimates for it are off."""


class EstimateInterval(StrictModel):
    """How far off the estimates for a whole network may be.

    Args:
        factor: The ends of the interval are the estimate divided by it, and times it.
        coverage_percent: Share of further networks that should lie within.
        left_out: What was left out of the calibration to find it.
        groups: How many of these there are; the networks of one of them are off together.
        latencies: Published latencies of them.
    """

    factor: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    coverage_percent: Annotated[int, Field(gt=0, lt=100)]
    left_out: LeftOut
    groups: PositiveInt
    latencies: PositiveInt


class EstimateBasis(StrictModel):
    """The data behind estimates, and their errors on networks whose latency is known.

    Args:
        chip: The chip that was estimated.
        extrapolated: Whether no latency of that chip was published, so that only its other figures were used.
        chip_latencies: Published latencies of that chip that the model was calibrated on.
        latencies: The same of all chips.
        left_out_family_mape_percent: Mean absolute error for classification networks of a family that was left out
            of the calibration.
        left_out_device_mape_percent: The same for diffusion networks on a chip that was left out.
        interval: The interval of a whole network's estimate; `None` in tables of earlier versions.
    """

    chip: str
    extrapolated: bool
    chip_latencies: NonNegativeInt
    latencies: PositiveInt
    left_out_family_mape_percent: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    left_out_device_mape_percent: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    interval: EstimateInterval | None = None


class TableMetadata(StrictModel):
    """The device, runtime and conditions that a table was measured with.

    Args:
        schema_version: Version of this format.
        device: Name of the device.
        runtime: Name of the runtime; the next five are its settings, see `nas.runtimes.RuntimeSettings`.
        precision: Type of the arithmetic.
        compute_unit: Processors it runs on.
        threads: Processor threads.
        opset: Set of operations converted to.
        options: Other options of the runtime that decide latencies.
        cpu: The machine's processor, as the system names it; of a phone, its model.
        versions: Versions of the system and the libraries.
        statistic: Statistic of the samples that `latency_ms` is.
        spaces: Names of the search spaces profiled into the table.
        complete: Whether every block of those spaces is in it.
        processor_share: Lowest share of the processor that the measurement had; `None` if nothing was measured.
        affinity: Processors that the measuring process could use; `None` if the system does not tell.
        load_average: Highest one-minute load of the machine before a window; `None` if the system does not tell.
        memory_budget_bytes: Blocks that need more are not measured; `None` without a budget.
        reference: Key of the reference block.
        reference_ms: Its latency when the machine was at its best; on a phone, that of a chain of `REFERENCE_COPIES`
            copies. Measure it again to see how fast the machine is now.
        call_overhead_ms: The time of one call of a whole network beside its blocks, if the blocks' latencies do not
            include it; `None` if each of them includes the time of a call.
        estimate: The data behind estimates; `None` if the table has none.
        measurement: The settings it was measured with, see `nas.latency.measuring.settings`; `protocol` in files of
            earlier versions.
        began_at: When measuring began.
        ended_at: When it ended, or was last interrupted.
        rows: Number of rows; `LatencyTable.save` writes it.
    """

    schema_version: Literal[3] = SCHEMA_VERSION
    device: str
    runtime: str
    precision: str = "fp32"
    compute_unit: str = "cpu"
    threads: int | None = None
    opset: str | None = None
    options: dict[str, bool | int | FiniteFloat | str | None] = {}
    cpu: str = Field(default_factory=cpu_model)
    versions: dict[str, str] = Field(default_factory=versions)
    statistic: str = STATISTIC
    spaces: tuple[str, ...] = ()
    complete: bool = False
    processor_share: Load | None = None
    affinity: tuple[int, ...] | None = None
    load_average: Load | None = None
    memory_budget_bytes: PositiveInt | None = None
    reference: str | None = None
    reference_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    call_overhead_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    estimate: EstimateBasis | None = None
    measurement: Annotated[
        dict[str, bool | int | FiniteFloat | str | None],
        Field(validation_alias=AliasChoices("measurement", "protocol")),
    ] = {}
    began_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    rows: NonNegativeInt = 0

    @classmethod
    def of(cls, settings: RuntimeSettings, **conditions: Any) -> Self:
        """The metadata of a table that is measured with these settings of a runtime, and the other fields given."""
        return cls(
            runtime=settings.runtime,
            precision=settings.precision,
            compute_unit=settings.compute_unit,
            threads=settings.threads,
            opset=settings.opset,
            options=dict(settings.options),
            **conditions,
        )

    @property
    def settings(self) -> RuntimeSettings:
        """The runtime and its settings."""
        from nas.runtimes import RuntimeSettings

        return RuntimeSettings(
            self.runtime, self.precision, self.compute_unit, self.threads, self.opset, options=self.options
        )

    @property
    def device_text(self) -> str:
        """The device's name for readers; it says if latencies are extrapolated."""
        extrapolated = self.estimate is not None and self.estimate.extrapolated
        return f"{self.device} (extrapolated)" if extrapolated else self.device

    @property
    def of_phone(self) -> bool:
        """Whether the latencies were measured on a phone, through chains of blocks."""
        return self.statistic == CHAIN_STATISTIC

    def identity(self) -> dict[str, Any]:
        """What must agree for latencies to be in one table; options only if there are any."""
        names = ("device", "runtime", "precision", "compute_unit", "threads", "opset", "cpu", "statistic")
        return {name: getattr(self, name) for name in names} | ({"options": self.options} if self.options else {})

    def differences(self, other: TableMetadata) -> dict[str, tuple[Any, Any]]:
        """What keeps the latencies of two tables apart: fields of the identity, with the values here and there."""
        names = dict.fromkeys((*self.identity(), *other.identity()))
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in names}
        return {name: (here, there) for name, (here, there) in pairs.items() if here != there}

    @model_serializer(mode="wrap")
    def _without_empty_options(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Files of runtimes without such options have no key for them, as in earlier versions."""
        written: dict[str, Any] = write(self)
        return written if self.options else {name: value for name, value in written.items() if name != "options"}

    @property
    def identity_digest(self) -> str:
        """The identity in 16 hexadecimal digits; it enters the checksum of every row."""
        return fingerprint(self.identity())


def metadata_path(path: str | Path) -> Path:
    """The JSON file beside a table's CSV."""
    return Path(path).with_suffix(".json")


def write_metadata(path: Path, metadata: TableMetadata) -> None:
    """Write the file beside the table at `path`, unless it says the same already."""
    file, value = metadata_path(path), metadata.model_dump(mode="json")
    try:
        unchanged = read_json(file, error=TableError) == value
    except TableError:
        unchanged = False
    if not unchanged:
        write_json(file, value)


def read_metadata(path: Path) -> TableMetadata:
    """Read the file beside the table at `path`.

    Raises:
        TableError: It is missing, corrupt or of another schema version, or a value is impossible.
    """
    file = metadata_path(path)
    if not file.is_file():
        hint = "it says what the latencies were measured on: restore it, or profile into a new file"
        raise TableError(f"{file.name} is missing", where=path, hint=hint)
    value = read_json(file, error=TableError)
    version = value.get("schema_version") if isinstance(value, Mapping) else None
    if version != SCHEMA_VERSION:
        what = f"schema_version is {version!r}, this version of nas reads {SCHEMA_VERSION}"
        raise TableError(what, where=file, hint="profile again into a new file")
    try:
        return parse(value, TableMetadata, where=file)
    except ConfigError as error:
        raise TableError(error.what, where=file, hint=error.hint) from error
