"""The form of the programs that a latency table is for, which decides the memory that they need."""

from __future__ import annotations

from collections.abc import Iterable

from nas.latency.prediction.weights import kind_of_table
from nas.latency.tables.metadata import TableMetadata
from nas.latency.tables.table import LatencyTable
from nas.models.memory import CORE_ML_FACTOR, ProgramForm
from nas.space import Architecture, SearchSpace


def program_form(metadata: TableMetadata) -> ProgramForm:
    """The form of the programs of a table: its weights, its arithmetic, and what its runtime adds."""
    bytes_per_value = 2 if metadata.precision == "fp16" else 4
    weights = kind_of_table(metadata) or ("fp16" if metadata.precision == "fp16" else "fp32")
    return ProgramForm(weights, bytes_per_value, CORE_ML_FACTOR if metadata.runtime == "coreml" else 1.0)


def program_forms(tables: Iterable[LatencyTable]) -> tuple[ProgramForm, ...]:
    """The different forms of several tables; fp32 without tables."""
    return tuple(dict.fromkeys(program_form(table.metadata) for table in tables)) or (ProgramForm(),)


def pipeline_memory(space: SearchSpace, architecture: Architecture, metadata: TableMetadata) -> dict[str, int]:
    """Estimated memory of the three networks of a clip, each loaded alone, and of all of them loaded together.

    Args:
        space: The search space.
        architecture: The architecture.
        metadata: Of the latency table, which says in which form the networks are executed.
    """
    form, pipeline = program_form(metadata), space.lower_pipeline(architecture)
    plans = {"text_encoder": pipeline.text_encoder, "unet": pipeline.unet, "decoder": pipeline.decoder}
    alone = {name: form.memory_bytes(plan) for name, plan in plans.items()}
    return {**alone, "together": sum(alone.values())}
