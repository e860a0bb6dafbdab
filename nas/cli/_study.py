"""The options by which verbs name a study, and how its front is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._paths import ReadsStorage, WritesStorage
from nas.formatting import bytes_text, cell_text

if TYPE_CHECKING:
    from nas.search import FrontMember, StudyRecord
    from nas.search.results.history import HypervolumeHistory

StudyOption = Annotated[str, typer.Option("--study", help="Name of the study.")]
_STORAGE_HELP = "SQLite file of the study, or postgresql://user@host/base for many workers."
StorageOption = Annotated[str, typer.Option("--storage", parser=ReadsStorage(), help=_STORAGE_HELP)]
StorageToWrite = Annotated[str, typer.Option("--storage", parser=WritesStorage(), help=_STORAGE_HELP)]
SearchScoresOption = Annotated[
    bool, typer.Option("--search-scores", help="Use the front of the search, not that of `nas rescore`.")
]
ExactOption = Annotated[
    bool, typer.Option("--exact", help="Go by the scores alone, even where their noise leaves the order open.")
]
ReferenceOption = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="QUALITY MS",
        help="Reference point of the hypervolume (default: the worst quality and latency scored). In a study of "
        "--latency worst, the second number is a share, without unit.",
    ),
]
DEFAULT_STORAGE = "study.db"
_HEADS = {"standard_error": "SE", "from_previous": "step"}
"""Short heads of columns, because a table of a front is wide."""


def load_record(storage: str, study: str, *, search_scores: bool) -> StudyRecord:
    """Read a study; with `search_scores`, without the scores of `nas rescore`."""
    from nas.search import load_study

    record = load_study(storage, study)
    return record.searched if search_scores else record


def front_document(record: StudyRecord, reference: tuple[float, float] | None = None) -> dict[str, Any]:
    """The front of a study and what is needed to interpret it, as plain data."""
    from nas.search import hypervolume_history
    from nas.search.results.neighbours import front_rows

    history = hypervolume_history(record, reference)
    names = ("space", "quality", "direction", "device", "runtime", "steps", "latency_budget_ms", "failed")
    return {
        "study": record.name,
        **{name: getattr(record, name) for name in names},
        **(_devices_document(record) if record.devices else {}),
        "provenance": list(record.provenance),
        "evaluations": len(record.evaluations),
        "waiting": record.waiting,
        "hypervolume": None if history is None else _hypervolume(history, record),
        "agreement": None if record.agreement is None else asdict(record.agreement),
        "front": front_rows(record),
    }


def show_front(record: StudyRecord, reference: tuple[float, float] | None = None) -> None:
    """Print the front of a study as a table, its hypervolume, and what the noise of the scores leaves of the order."""
    from nas.cli._common import emit_table
    from nas.search import hypervolume_history
    from nas.search.results.neighbours import steps_sentence

    # First, because it may refuse the reference, and nothing should be printed then.
    history = hypervolume_history(record, reference)
    arrow = "lower is better" if record.direction == "minimize" else "higher is better"
    steps = "" if record.one_call else f", {record.steps} steps"
    title = f"front of {record.name}: {record.quality} ({arrow}){second_title(record)}; {latency_sources(record)}"
    emit_table(f"{title}{steps}", _rows(record))
    if history is not None:
        typer.echo(hypervolume_text(history, record))
    noise = (steps_sentence(record), "" if record.agreement is None else record.agreement.sentence())
    for sentence in filter(None, noise):
        typer.echo(sentence)
    if record.waiting:
        typer.echo(f"{record.waiting} members of the search's front are not scored again yet; `nas rescore` continues")


def second_title(record: StudyRecord) -> str:
    """What is minimised beside quality, with the budgets of several devices, as a part of a title."""
    limits = ", ".join(f"{limit_ms:,.6g} ms on {device}" for device, limit_ms in record.limits_ms.items())
    budgets = f", latency budgets {limits}" if limits else ""
    return f" against {record.second_text}{budgets}" if record.second_text else ""


def latency_sources(record: StudyRecord) -> str:
    """Where the latencies come from, for each device."""
    if not record.devices:
        return f"{' and '.join(record.provenance)} latency on {record.device}, {record.runtime}"
    return " and ".join(
        f"{' and '.join(record.provenance_on(name))} latency on {device.device}, {device.runtime}"
        for name, device in record.devices.items()
    )


def member_row(member: dict[str, Any]) -> dict[str, Any]:
    """The plain data of a member as a row; the latencies on several devices have a column each."""
    row = with_interval(member)
    latencies = row.pop("devices", None)
    if latencies is None:
        return row
    said = {"latency_ms", "provenance", "runtime"} | (set() if "share" in row else {"device"})
    shown = {name: value for name, value in row.items() if name not in said}
    for device, latency in latencies.items():
        shown[f"{device}, ms"] = latency["latency_ms"]
        shown |= {f"{device}, {name}": latency[name] for name in ("provenance", "runtime")}
    return shown


def with_interval(member: dict[str, Any]) -> dict[str, Any]:
    """The plain data with the interval of the latency in one cell, and memory in a unit for readers."""
    row: dict[str, Any] = {}
    for name, value in member.items():
        if name == "low_ms":
            row[f"{member['interval_percent']}% interval"] = f"{cell_text(value)} to {cell_text(member['high_ms'])}"
        elif name == "memory_bytes":
            row["memory, estimated"] = bytes_text(value)
        elif name not in ("high_ms", "interval_percent"):
            row[name] = value
    return row


def device_rows(member: FrontMember, record: StudyRecord) -> list[dict[str, Any]]:
    """The latencies of a member on several devices, a row each, with the study's budgets; none for one device."""
    rows = []
    for name, latency in member.devices.items():
        limit_ms = record.limits_ms.get(name)
        share = None if limit_ms is None else latency.latency_ms / limit_ms
        budget = {"the study's budget, ms": limit_ms, "share of it": share} if record.limits_ms else {}
        device = record.devices[name].device
        rows.append({"device": device, "latency_ms": latency.latency_ms, **budget, "unet_ms": latency.unet_ms,
                     "provenance": latency.provenance, "runtime": latency.runtime})  # fmt: skip
    return rows


def _rows(record: StudyRecord) -> list[dict[str, Any]]:
    """The members, without columns that are unknown, or equal for all of them and in the title."""
    from nas.search.results.neighbours import front_rows, step_text

    rows = [member_row(row) for row in front_rows(record)]
    told = {name for name, values in _titled(record).items() if any(_all_are(rows, name, value) for value in values)}
    cells = ({**row, "from_previous": step_text(row["from_previous"])} for row in rows)
    return [{_HEADS.get(name, name): value for name, value in row.items() if name not in told} for row in cells]


def _titled(record: StudyRecord) -> dict[str, tuple[Any, ...]]:
    """Values that need no column: the title says them, or they mean that nothing is known."""
    if not record.evaluations:
        return {}
    said: dict[str, tuple[Any, ...]] = {
        "runtime": (record.runtime,),
        "provenance": record.provenance[:1],
        **dict.fromkeys(("parameters", "standard_error", "from_previous"), (None,)),
    }
    for name, device in record.devices.items():
        # With settings of one kind, a member names the runtime alone.
        said[f"{name}, runtime"] = (device.runtime, device.runtime.partition(",")[0])
        said[f"{name}, provenance"] = record.provenance_on(name)[:1]
    return said


def _all_are(rows: Sequence[dict[str, Any]], name: str, value: Any) -> bool:
    return all(row.get(name) == value for row in rows)


def hypervolume_text(history: HypervolumeHistory, record: StudyRecord) -> str:
    """The hypervolume of a front and what it refers to, in a sentence."""
    quality, second = history.reference
    worst = f"{second:,.6g} ms" if not record.of_shares else f"a share of {second:.6g} (no unit)"
    return f"hypervolume {history.values[-1]:.6g} up to quality {quality:.6g} and {worst}"


def _devices_document(record: StudyRecord) -> dict[str, Any]:
    """What is known of several devices."""
    return {
        "second_objective": record.which,
        "latency_budgets_ms": dict(record.limits_ms),
        "devices": {
            name: {**asdict(device), "provenance": list(record.provenance_on(name))}
            for name, device in record.devices.items()
        },
    }


def _hypervolume(history: HypervolumeHistory, record: StudyRecord) -> dict[str, Any]:
    quality, second = history.reference
    name = "latency_ms" if not record.of_shares else "share"
    return {"value": history.values[-1], "reference": {"quality": quality, name: second}}
