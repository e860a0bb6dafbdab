"""The options by which verbs name a study, and how its front is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nas.cli._paths import ReadsRunOrStorage, ReadsStorage, WritesStorage
from nas.formatting import bytes_text, cell_text, counted

if TYPE_CHECKING:
    from nas.search import FrontMember, StudyRecord
    from nas.search.latencies.devices import DeviceLatency
    from nas.search.results.history import HypervolumeHistory

StudyOption = Annotated[str, typer.Option("--study", help="Name of the study.")]
_STORAGE_HELP = "SQLite file of the study, or postgresql://user@host/base for many workers."
StorageOption = Annotated[str, typer.Option("--storage", parser=ReadsStorage(), help=_STORAGE_HELP)]
StorageToWrite = Annotated[str, typer.Option("--storage", parser=WritesStorage(), help=_STORAGE_HELP)]
RunOrStudyArgument = Annotated[
    str,
    typer.Argument(
        parser=ReadsRunOrStorage(),
        metavar="RUN|STUDY",
        help="Folder of a `nas run`, or SQLite file of a study, or postgresql://user@host/base.",
    ),
]
OneStudyOption = Annotated[str | None, typer.Option("--study", help="Name of the study, if the storage holds several.")]
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

Rows = list[dict[str, Any]]


def load_record(storage: str, study: str, *, search_scores: bool) -> StudyRecord:
    """Read a study; with `search_scores`, without the scores of `nas rescore`."""
    from nas.search import load_study

    record = load_study(storage, study)
    return record.searched if search_scores else record


def only_study(storage: str) -> str:
    """The name of the only study of a storage; raises `ConfigError` if it has several, or none."""
    from nas.errors import ConfigError
    from nas.search.storage.address import shown
    from nas.search.storage.studies import stored_studies

    names = stored_studies(storage)
    if len(names) != 1:
        found = f"holds the studies {', '.join(names)}" if names else "holds no study"
        raise ConfigError(found, where=shown(storage), hint="name one with --study" if names else None)
    return names[0]


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
    steps = "" if record.one_call else f", {counted(record.steps, 'step')}"
    title = f"front of {record.name}: {record.quality} ({arrow}){second_title(record)}; {latency_sources(record)}"
    emit_table(f"{title}{steps}", _figures(record))
    if devices := _on_devices(record):
        emit_table("on each device", devices)
    emit_table("layers", _details(record))
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


def member_facts(member: FrontMember, record: StudyRecord) -> dict[str, Any]:
    """What is known of a member, for a list; latencies on several devices have a table of their own."""
    error = "" if member.standard_error is None else f" ± {member.standard_error:.2g}"
    latency = {
        "latency, ms": member.latency_ms,
        f"{member.interval_percent}% interval, ms": interval_text(member),
        "where from": member.provenance,
        "runtime": member.runtime,
    }
    return {
        "architecture": member.architecture.id,
        "layers": _layers(member, record),
        record.final.quality: f"{cell_text(member.quality)}{error}",
        "the search's score": member.search_quality,
        "share": member.share,
        **({} if member.devices else latency),
        "parameters": member.parameters,
        "memory, estimated": None if member.memory_bytes is None else bytes_text(member.memory_bytes),
    }


def interval_text(latency: FrontMember | DeviceLatency) -> str | None:
    """The interval of a latency, in ms; `None` if the error is unknown."""
    if latency.low_ms is None or latency.high_ms is None:
        return None
    return f"{cell_text(latency.low_ms)} to {cell_text(latency.high_ms)}"


def _layers(member: FrontMember, record: StudyRecord) -> str:
    """The layers of a member; where the network is only a table, `none` is a choice as others are."""
    from nas.space.layers import layers_text

    return str(member.architecture) if record.one_call else layers_text(member.architecture)


def device_rows(member: FrontMember, record: StudyRecord) -> Rows:
    """What is known of a member on several devices, with the study's budgets: a column for each device."""
    facts = {record.devices[name].device: _on_device(name, member, record) for name in member.devices}
    names = next(iter(facts.values()), {})
    return [
        {"": name, **{device: cell_text(known[name]) for device, known in facts.items()}}
        for name in names
        if any(known[name] is not None for known in facts.values())
    ]


def _on_device(name: str, member: FrontMember, record: StudyRecord) -> dict[str, Any]:
    latency, limit_ms = member.devices[name], record.limits_ms.get(name)
    interval = interval_text(latency)
    return {
        "latency, ms": latency.latency_ms,
        "interval, ms": interval and f"{interval} ({latency.interval_percent}%)",
        "the study's budget, ms": limit_ms,
        "share of it": None if limit_ms is None else latency.latency_ms / limit_ms,
        "one call, ms": latency.unet_ms,
        "where from": latency.provenance,
        "runtime": latency.runtime,
    }


def _figures(record: StudyRecord) -> Rows:
    """The score and the latency of each member."""
    from nas.search.results.neighbours import front_rows, step_text

    rows = []
    for member, plain in zip(record.front, front_rows(record), strict=True):
        error, step = member.standard_error, step_text(plain["from_previous"])
        row = {
            "architecture": member.architecture.id,
            "quality": member.quality,
            "SE": None if error is None else float(f"{error:.2g}"),
            "share": member.share,
        }
        devices = {f"{name}, ms": latency.latency_ms for name, latency in member.devices.items()}
        interval = {f"{member.interval_percent}% interval": interval_text(member)}
        one = {"ms": member.latency_ms, **(interval if member.interval_ms else {})}
        rows.append({**row, **(devices or one), "step": step})
    return _known(rows)


def _details(record: StudyRecord) -> Rows:
    """What each member is made of, and what the title does not say of its latency."""
    rows = []
    for member in record.front:
        memory = None if member.memory_bytes is None else bytes_text(member.memory_bytes)
        row = {
            "architecture": member.architecture.id,
            "layers": _layers(member, record),
            "parameters": member.parameters,
            "memory": memory,
            "the search's score": member.search_quality,
        }
        one = {"where from": member.provenance, "runtime": member.runtime}
        rows.append({**row, **({} if member.devices else one)})
    return _untold(_known(rows), {"where from": record.provenance[:1], "runtime": _runtimes(record.runtime)})


def _on_devices(record: StudyRecord) -> Rows:
    """What is known of the latencies on several devices beside their values."""
    rows, told = [], {}
    for member in record.front:
        row: dict[str, Any] = {"architecture": member.architecture.id}
        for name, latency in member.devices.items():
            row[f"{name}, {latency.interval_percent}% interval, ms"] = interval_text(latency)
            row |= {f"{name}, from": latency.provenance, f"{name}, runtime": latency.runtime}
            told[f"{name}, from"] = record.provenance_on(name)[:1]
            told[f"{name}, runtime"] = _runtimes(record.devices[name].runtime)
        rows.append(row)
    rows = _untold(_known(rows), told)
    return rows if rows and len(rows[0]) > 1 else []


def _runtimes(runtime: str) -> tuple[str, str]:
    """A runtime, and its name alone: with settings of one kind, a member names no more."""
    return runtime, runtime.partition(",")[0]


def _known(rows: Rows) -> Rows:
    """The rows without columns that no row knows, and with the others in all of them."""
    names = {name: None for row in rows for name, value in row.items() if value is not None}
    order = [name for name in dict.fromkeys(name for row in rows for name in row) if name in names]
    return [{name: row.get(name) for name in order} for row in rows]


def _untold(rows: Rows, told: Mapping[str, Sequence[Any]]) -> Rows:
    """The rows without columns that have, in all of them, a value that the title says."""
    gone = {
        name for name, values in told.items() if any(all(row.get(name) == value for row in rows) for value in values)
    }
    return [{name: value for name, value in row.items() if name not in gone} for row in rows]


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
