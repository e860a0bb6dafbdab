"""The raw samples beside a table: every timed call, so that statistics can be computed again.

The file has one line of JSON per window, written as soon as the window is measured. A killed process leaves at most one
torn line, at the end. It is dropped, and the lines before it count when measuring resumes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import pydantic
from pydantic import AwareDatetime, Field, NonNegativeInt, PositiveInt, model_validator

from nas.errors import TableError
from nas.files import StrictModel, read_text, storage_errors, write_text

if TYPE_CHECKING:
    from nas.latency.measuring.windows import Window

_Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Samples = Annotated[tuple[_Milliseconds, ...], Field(min_length=1)]


class SampleRecord(StrictModel):
    """One window, as it is stored in the file.

    Args:
        measured_at: When it ended.
        conditions: Digest of the conditions, equal to that of the table.
        reference: Key of the reference block.
        reference_ms: Calls of the reference.
        samples_ms: The calls of each block, by key.
        order: What was called, call by call, as in `Window`.
        copies: On a phone, the numbers of copies of a block in its calls, which alternate: in the first call, in the
            second, and so on from the start. Empty if blocks were called alone.
    """

    measured_at: AwareDatetime
    conditions: str
    reference: str
    reference_ms: _Samples
    samples_ms: dict[str, _Samples]
    order: tuple[NonNegativeInt, ...]
    copies: dict[str, tuple[PositiveInt, ...]] = {}

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        calls = Counter(self.order)
        expected = [len(self.reference_ms), *map(len, self.samples_ms.values())]
        if [calls[number] for number in range(len(expected))] != expected or len(self.order) != sum(expected):
            raise ValueError("order: does not list the calls that there are samples of")
        return self

    @property
    def window(self) -> Window:
        """The window."""
        from nas.latency.measuring.windows import Window

        return Window(self.reference, self.reference_ms, self.samples_ms, self.order)

    def only(self, keys: Collection[str]) -> SampleRecord:
        """The same window without the calls of other blocks."""
        kept = [key for key in self.samples_ms if key in keys]
        numbers = {0: 0} | {1 + place: 1 + kept.index(key) for place, key in enumerate(self.samples_ms) if key in keys}
        update = {
            "samples_ms": {key: self.samples_ms[key] for key in kept},
            "order": tuple(numbers[number] for number in self.order if number in numbers),
            "copies": {key: self.copies[key] for key in kept if key in self.copies},
        }
        return self.model_copy(update=update)


class SampleLog:
    """The samples of one table.

    Args:
        path: The file.
        conditions: Digest of the table's conditions.
    """

    def __init__(self, path: str | Path, conditions: str) -> None:
        self.path, self.conditions = Path(path), conditions

    def append(self, record: SampleRecord) -> None:
        """Add a window at the end; it is on disk when this returns."""
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(record.model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())

    def read(self) -> list[SampleRecord]:
        """All windows, in the order they were measured; none if there is no file.

        Raises:
            TableError: A line is damaged, or belongs to a table of other conditions; names the line.
        """
        if not self.path.is_file():
            return []
        return [self._parse(number, line) for number, line in self._lines()]

    def remove_torn_line(self) -> None:
        """Remove the torn line that a killed process may have left at the end."""
        if self.path.is_file() and (text := read_text(self.path, error=TableError)) and not text.endswith("\n"):
            write_text(self.path, text[: text.rfind("\n") + 1])

    def keep(self, keys: Iterable[str], others: Iterable[SampleRecord]) -> None:
        """Replace the log by the samples of some blocks, taken from other logs."""
        wanted = set(keys)
        lines = []
        for record in others:
            kept = record.only(wanted)
            if kept.samples_ms:
                lines.append(kept.model_copy(update={"conditions": self.conditions}).model_dump_json() + "\n")
        write_text(self.path, "".join(lines))

    def _lines(self) -> Iterator[tuple[int, str]]:
        text = read_text(self.path, error=TableError)
        whole = text[: text.rfind("\n") + 1]
        return ((number, line) for number, line in enumerate(whole.split("\n")[:-1], start=1))

    def _parse(self, number: int, line: str) -> SampleRecord:
        where = f"{self.path}: line {number}"
        try:
            record = SampleRecord.model_validate_json(line)
        except pydantic.ValidationError as error:
            hint = "remove the line; its calls will be measured again if they are needed"
            raise TableError("not a window of samples", where=where, hint=hint) from error
        if record.conditions != self.conditions:
            hint = "these samples belong to another table: restore the file, or remove it"
            raise TableError("measured under other conditions than the table beside it", where=where, hint=hint)
        return record


def samples_path(table: str | Path) -> Path:
    """The file of raw samples beside a table's CSV."""
    return Path(table).with_suffix(".samples.jsonl")
