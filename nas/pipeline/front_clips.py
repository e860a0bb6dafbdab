"""Clips of the front of a run, with the prompts that the run has shown."""

from __future__ import annotations

from pathlib import Path

from nas.pipeline.folder import STUDY
from nas.pipeline.runner import require_search, stage_begun, stage_values
from nas.report.front_clips import FrontSource

PROMPTS = 4
"""Captions of a run's samples that are taken, spread evenly over them."""


def front_of_run(root: Path, *, search_scores: bool = False) -> FrontSource:
    """The study and the supernet of a run.

    Args:
        root: The run's folder.
        search_scores: Take the front of the search, though the run has scored it again.

    Raises:
        StorageError: The folder is not that of a run, or the run has not begun to search.
    """
    require_search(root)
    # The second scores of an earlier run are not those that this run has picked by.
    again = stage_begun(root, "rescore") and not search_scores
    return FrontSource(root / "search" / "study.db", STUDY, root / "train", search_scores=not again)


def prompts_of_run(root: Path) -> tuple[str, ...]:
    """Captions of some of the samples that a run has made; none if it has made none yet."""
    prompts = [clip["prompt"] for clip in stage_values(root, "samples").get("clips", ())]
    return tuple(prompts[:: max(-(-len(prompts) // PROMPTS), 1)])
