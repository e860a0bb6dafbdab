"""Paths on the command line: what a command reads and writes, checked before its work begins.

The parser of an option says which it is: `typer.Option(parser=READS_FILE)`. The commands of an `App` check their paths
before they run: no input may be overwritten, every output must be writable, and every input must be there.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.models import CommandFunctionType, ParameterInfo

from nas.cli._finding import (
    PROCEDURAL,
    clips_of_file,
    find_bundle,
    find_clips,
    find_file,
    find_folder,
    find_model,
    find_run,
    find_run_or_study,
    find_space,
    find_supernet,
    find_table,
    is_data_file,
)

FIGURES = (".png", ".svg", ".pdf")
"""Formats of figures."""


class PathParser:
    """Parses the text of a path option, and says what the verb does with the path."""

    __name__ = "path"  # shown by `--help` as the kind of value
    read_by_dry_runs = True
    """Whether a dry run reads the path, too; else it need not be there for one."""

    def __call__(self, text: str) -> Any:
        """The path, or a `typer.BadParameter`."""
        return Path(_expanded(text))

    def reads(self, value: Any) -> Iterable[Path]:
        """Files and folders that are read and must stay as they are."""
        return ()

    def writes(self, value: Any) -> Iterable[Path]:
        """Files and folders that are written or replaced."""
        return ()

    def check(self, value: Any) -> None:
        """See whether the verb will be able to write; raises `NasError`."""

    def find(self, value: Any) -> None:
        """See whether what the verb reads is there; raises `NasError`."""


class Reads(PathParser):
    """A file or folder that is read.

    Args:
        find: Raises a `NasError` if it is not there, as in `nas.cli._finding`.
        read_by_dry_runs: Whether a dry run reads it, too.
    """

    def __init__(self, find: Callable[[Path], None], *, read_by_dry_runs: bool = True) -> None:
        self._find, self.read_by_dry_runs = find, read_by_dry_runs

    def reads(self, value: Path) -> Iterable[Path]:
        """The path itself."""
        return (value,)

    def find(self, value: Path) -> None:
        """Raise if there is nothing of the kind."""
        self._find(value)


class ReadsClips(PathParser):
    """Clips: a name of clips that are made, or a path."""

    __name__ = "data"
    read_by_dry_runs = False

    def __call__(self, text: str) -> str:
        """The text, with `~` expanded."""
        return _expanded(text)

    def reads(self, value: str) -> Iterable[Path]:
        """The path, and the path of the clips that a file of settings names."""
        if value == PROCEDURAL:
            return ()
        if not is_data_file(value):
            return (Path(value),)
        clips = clips_of_file(value).get("path")
        return (Path(value), Path(value).parent / _expanded(clips)) if isinstance(clips, str) else (Path(value),)

    def find(self, value: str) -> None:
        """Raise if there are no such clips."""
        find_clips(value)


class ReadsStorage(PathParser):
    """Where a study is kept that is read: a file, or the URL of a database."""

    __name__ = "storage"

    def __call__(self, text: str) -> str:
        """The text as it is; it is parsed where it is used."""
        return text

    def reads(self, value: str) -> Iterable[Path]:
        """The file of the study, if it is stored in one."""
        from nas.search.storage.address import study_file

        return [file for file in [study_file(value)] if file is not None]


class ReadsRunOrStorage(ReadsStorage):
    """The folder of a run, or where a study is kept that is read."""

    __name__ = "run or storage"

    def reads(self, value: str) -> Iterable[Path]:
        """The file of the study, if it is stored in one: a report may be written into the folder of its run."""
        return () if Path(_expanded(value)).is_dir() else super().reads(value)

    def find(self, value: str) -> None:
        """Raise if there is no such run, or no such file of a study."""
        find_run_or_study(_expanded(value), self.reads(value))


class WritesStorage(ReadsStorage):
    """Where a study is kept that is started or resumed."""

    def reads(self, value: str) -> Iterable[Path]:
        """Nothing: the study is written."""
        return ()

    def writes(self, value: str) -> Iterable[Path]:
        """The file of the study, if it is stored in one."""
        return super().reads(value)

    def check(self, value: str) -> None:
        """Whether the file can be written."""
        from nas.files import check_output_file

        for file in self.writes(value):
            check_output_file(file)


class WritesFile(PathParser):
    """A file that is written.

    Args:
        suffixes: What its name must end with; anything when empty.
        others: Suffixes of files of the same name that are written with it.
    """

    def __init__(self, suffixes: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> None:
        self.suffixes, self.others = suffixes, others

    def writes(self, value: Path) -> Iterable[Path]:
        """The file, and those that are written with it."""
        return dict.fromkeys((value, *(value.with_suffix(suffix) for suffix in self.others)))

    def check(self, value: Path) -> None:
        """Whether the suffix is known, and all files can be written."""
        from nas.files import check_output_file

        check_output_file(value, self.suffixes)
        for path in self.writes(value):
            check_output_file(path)


class WritesTable(WritesFile):
    """A latency table that is written or extended."""

    def check(self, value: Path) -> None:
        """Whether it can be written; a search space in its place is refused with what to do."""
        from nas.latency.tables.table import refuse_space

        refuse_space(value)
        super().check(value)


class WritesClips(WritesFile):
    """A file of one clip, or a folder of many: which it is, the verb says."""

    def writes(self, value: Path) -> Iterable[Path]:
        """The file with those beside it, or the folder and the record beside it."""
        if value.suffix.lower() in self.suffixes:
            return super().writes(value)
        return (value, value.with_name(f"{value.name}.json"))

    def check(self, value: Path) -> None:
        """Whether it can be written; a file of another suffix is refused by the verb."""
        from nas.files import check_output_file, check_output_folder

        if value.suffix.lower() in self.suffixes:
            super().check(value)
        elif not value.is_file():
            check_output_folder(value)
            check_output_file(value.with_name(f"{value.name}.json"))


class Extends(Reads):
    """A file that is read, and beside which another one is written."""

    def check(self, value: Path) -> None:
        """Whether files can be written beside the path."""
        from nas.files import check_output_folder

        check_output_folder(value.parent)


class WritesFolder(PathParser):
    """A folder that is written as a whole.

    Args:
        kind: What is written, as of `nas.files.atomic_folder`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def writes(self, value: Path) -> Iterable[Path]:
        """The folder."""
        return (value,)

    def check(self, value: Path) -> None:
        """Whether the folder can be written or replaced."""
        from nas.files import check_output_folder

        check_output_folder(value, self.kind)


class WritesInto(PathParser):
    """A folder into which files are written, beside what is there.

    Args:
        names: What is written there, where the rest of the folder may be anything; else the folder is the output.
    """

    def __init__(self, *names: str) -> None:
        self.names = names

    def writes(self, value: Path) -> Iterable[Path]:
        """The names in the folder, or the folder."""
        return [value / name for name in self.names] or [value]

    def check(self, value: Path) -> None:
        """Whether the folder can be written."""
        from nas.files import check_output_folder

        check_output_folder(value)


class WritesRun(WritesInto):
    """The folder of a training run.

    Args:
        results: Folders that the run makes in it.
    """

    def __init__(self, *results: str) -> None:
        super().__init__(*results, "checkpoints", "metrics.csv", "tensorboard", "trackers.json")


READS_FILE, READS_SPACE, READS_TABLE = Reads(find_file), Reads(find_space), Reads(find_table)
READS_MODEL, READS_BUNDLE = Reads(find_model), Reads(find_bundle)
READS_SUPERNET = Reads(find_supernet, read_by_dry_runs=False)
READS_FOLDER, READS_RUN, UNSEEN = Reads(find_folder), Reads(find_run), Reads(lambda _: None)
READS_CLIPS, EXTENDS_TABLE = ReadsClips(), Extends(find_table)
WRITES_SHEET = WritesFile((*FIGURES, ".webp", ".gif"))
WRITES_FILE, WRITES_FIGURE, WRITES_TABLE = WritesFile(), WritesFile(FIGURES), WritesTable((".csv",))


def check_paths(given: Iterable[tuple[PathParser, Any]], *, dry_run: bool = False) -> None:
    """Check what a verb was given, before it runs.

    Args:
        given: The values of its path options, each with its parser.
        dry_run: Whether the verb will only say what it would do.

    Raises:
        ConfigError: Something that is written is, contains or lies in something that is read.
        StorageError: Something could not be written.
        NasError: Something that is read is not there.
    """
    from nas.files import refuse_overlap

    given = list(given)
    outputs = [path for parser, value in given for path in parser.writes(value)]
    refuse_overlap(outputs, [path for parser, value in given for path in parser.reads(value)])
    for parser, value in given:
        parser.check(value)
    for parser, value in given:
        if parser.read_by_dry_runs or not dry_run:
            parser.find(value)


def checking(verb: CommandFunctionType) -> CommandFunctionType:
    """A verb with its paths checked first."""

    @functools.wraps(verb)
    def checked(*args: Any, **options: Any) -> Any:
        check_paths(_given(verb, options), dry_run=bool(options.get("dry_run")))
        return verb(*args, **options)

    return typing.cast("CommandFunctionType", checked)


def _given(verb: Callable[..., Any], options: Mapping[str, Any]) -> Iterator[tuple[PathParser, Any]]:
    """The path options that a verb was given, one by one, each with its parser."""
    for name, parameter in inspect.signature(verb, eval_str=True).parameters.items():
        metadata = getattr(parameter.annotation, "__metadata__", ())
        infos = [info for info in metadata if isinstance(info, ParameterInfo)]
        parser = infos[0].parser if infos else None
        if isinstance(parser, PathParser) and options.get(name) is not None:
            value = options[name]
            for item in value if isinstance(value, list | tuple) else (value,):
                yield parser, item


def _expanded(text: str) -> str:
    from nas.files import user_path

    try:
        return user_path(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
