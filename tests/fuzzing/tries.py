"""Run a try in a process of its own, and say what is wrong with how it ended."""

from __future__ import annotations

import contextlib
import importlib
import io
import multiprocessing
import multiprocessing.util
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.fuzzing.cases import Case
from tests.fuzzing.world import make

_CONTEXT = multiprocessing.get_context("forkserver")
_IMPORTED = ("nas.cli", "nas.pipeline", "nas.quality.clips.scoring", "nas.report.comparison", "matplotlib.pyplot",
             "optuna", "sqlalchemy.dialects.sqlite", "nas.latency.estimating")  # fmt: skip
"""What tries import; done before them, because an import must not run out of time."""
_CONTEXT.set_forkserver_preload([*_IMPORTED, __name__])
_MEMORY_BYTES = 4 * 2**30
_OWN = {"cwd", "home", "tmp", "out.txt", "err.txt"}

WRITTEN_TO = {
    "latency fit": ("table.",),
    "search": ("study.db",),
    "rescore": ("study.db",),
    "profile": ("table.",),
}
"""Inputs that a command is there to change, or may: where names begin like this."""


@dataclass(frozen=True)
class Outcome:
    """How a try ended.

    Args:
        code: Exit code; negative for a signal, `None` where its time was up.
        problem: What is wrong with that, if anything is.
        detail: The last lines that it wrote, or the traceback.
    """

    code: int | None
    problem: str | None
    detail: str = ""


class Tries:
    """Runs tries below a folder, each with a copy of the files that commands read, in a process of its own.

    Args:
        root: An empty folder.
        limit_s: Seconds after which a try is ended; that is no fault.
        world: Folder of the files, or where they are to be made; below `root` when left out.
    """

    left_out: ClassVar[tuple[str, ...]] = ()
    """Commands that make none of the files."""

    def __init__(self, root: Path, limit_s: float, world: Path | None = None) -> None:
        self.root, self.limit_s, self.count = root, limit_s, 0
        self._spare: list[Path] = []
        self.world = (world or root / "world").absolute()
        if not self.world.exists():
            self.world.mkdir(parents=True)
            done = self.call(root, 600, make, self.world, *self.left_out)
            if done.code != 0:
                raise RuntimeError(f"the files cannot be made: {done.detail}")

    def run(self, case: Case) -> Outcome:
        """Run one and judge it."""
        self.count += 1
        folder = Path(tempfile.mkdtemp(prefix=f"try-{self.count}-", dir=self.root))
        try:
            cwd = folder / "cwd"
            for each in (cwd / "o", folder / "home", folder / "tmp"):
                each.mkdir(parents=True)
            self._copy(cwd / "w")
            clean = _states(cwd / "w")
            for path, content in case.edits.items():
                (cwd / path).unlink(missing_ok=True)
                (cwd / path).write_bytes(content)
            before = _states(cwd / "w")
            outcome = self.call(folder, self.limit_s, self.nas, folder, case.arguments)
            problem = outcome.problem or _left(folder, case, before)
            if not case.edits and _states(cwd / "w") == clean:
                (cwd / "w").rename(spare := self.root / f"spare-{folder.name}")
                self._spare.append(spare)
            return Outcome(outcome.code, problem, outcome.detail)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _copy(self, target: Path) -> None:
        """Put a copy of the files somewhere: one that no try has changed, where there is one."""
        try:
            self._spare.pop().rename(target)
        except IndexError:
            shutil.copytree(self.world, target, symlinks=True)

    def call(self, folder: Path, limit_s: float, function: Callable[..., Any], *arguments: Any) -> Outcome:
        """Call a function, and say how it ended; what it prints goes to files in the folder."""
        process = _CONTEXT.Process(target=_child, args=(folder, function, *arguments))
        process.start()
        process.join(limit_s)
        if process.is_alive():
            process.kill()
            process.join()
            return Outcome(None, None, "time is up")
        text = (folder / "err.txt").read_text(encoding="utf-8", errors="replace")
        return _judged(process.exitcode or 0, text)

    @staticmethod
    def nas(folder: Path, arguments: tuple[str, ...]) -> None:
        """Run the program with so much memory and disk, and no more."""
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY_BYTES, used + _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MEMORY_BYTES, _MEMORY_BYTES))
        _settle(folder)
        _main(arguments)


class TriesHere(Tries):
    """The same in this process: quicker, for commands that take little, and where no crash is looked for."""

    left_out = ("latency estimate",)

    def __init__(self, root: Path, limit_s: float) -> None:
        for module in _IMPORTED:
            importlib.import_module(module)
        super().__init__(root, limit_s)

    def call(self, folder: Path, limit_s: float, function: Callable[..., Any], *arguments: Any) -> Outcome:
        """Call a function, for a limited processor time, and for ten times as long by the clock."""
        kept, cwd, argv, printed = dict(os.environ), Path.cwd(), sys.argv, io.StringIO()
        code: int | None = 0
        handlers = {number: signal.signal(number, _time_is_up) for number in (signal.SIGALRM, signal.SIGPROF)}
        signal.setitimer(signal.ITIMER_PROF, limit_s, 0.2)  # again: a finaliser may swallow it
        signal.setitimer(signal.ITIMER_REAL, 10 * limit_s, 0.2)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(printed):
                code = _code(function, *arguments)
        except _TimeIsUpError:
            code = None
        finally:
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            os.chdir(cwd)
            sys.argv, tempfile.tempdir = argv, None
            os.environ.clear()
            os.environ.update(kept)
        return Outcome(None, None, "time is up") if code is None else _judged(code, printed.getvalue())

    @staticmethod
    def nas(folder: Path, arguments: tuple[str, ...]) -> None:
        """Run the program."""
        multiprocessing.util.get_temp_dir()  # this process keeps the first one it makes, which must outlive the try
        _settle(folder)
        _main(arguments)


class _TimeIsUpError(BaseException):
    """Ends a try in this process; nobody catches it by mistake."""


def _time_is_up(*_: object) -> None:
    raise _TimeIsUpError


def _judged(code: int, text: str) -> Outcome:
    return Outcome(code, _fault(code, text), text[-6000:])


def _fault(code: int, text: str) -> str | None:
    if code not in {0, 2}:
        return f"exit code {code}"
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    if code == 2 and "Usage: " not in text and not lines:
        return "exit code 2 without a reason"
    return "several errors" if len(lines) > 1 else None


def _child(folder: Path, function: Callable[..., Any], *arguments: Any) -> None:
    for stream, name in ((1, "out.txt"), (2, "err.txt")):
        file = os.open(folder / name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    code = _code(function, *arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code(function: Callable[..., Any], *arguments: Any) -> int:
    """Call a function; the code that a process with nothing else would end with."""
    try:
        function(*arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - what it is, the judge of the try sees
        traceback.print_exc()
        return 1
    return 0


def _settle(folder: Path) -> None:
    """Let all that a program may find by itself be inside the folder."""
    os.environ |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "COLUMNS": "200"}
    os.environ.pop("XDG_CACHE_HOME", None)
    tempfile.tempdir = None
    os.chdir(folder / "cwd")


def _main(arguments: tuple[str, ...]) -> None:
    from nas.cli import main

    sys.argv = ["nas", "--verbose", *arguments]
    main()


def _left(folder: Path, case: Case, before: dict[str, tuple[object, ...]]) -> str | None:
    """What is wrong with the files that a try has left."""
    strange = {each.name for each in folder.iterdir()} - _OWN
    if strange:
        return f"made outside its folder: {', '.join(sorted(strange))}"
    after = _states(folder / "cwd" / "w")
    allowed = (*WRITTEN_TO.get(case.command, ()), *_named(case))
    for path, state in before.items():
        if after.get(path) != state and not path.startswith(allowed):
            return f"changed its input: w/{path}"
    return None


_OUTPUT = re.compile(r"^--(?:out|table|figure|errors-figure|conversions|storage)=(?:sqlite:///)?w/([^?]+)")


def _named(case: Case) -> tuple[str, ...]:
    """Files of the world that an option for output names: what may be written there is judged elsewhere."""
    return tuple(found[1] for word in case.arguments if (found := _OUTPUT.match(word)))


def _states(folder: Path) -> dict[str, tuple[object, ...]]:
    """Of each file, what changes with it: where it points, or its place on the disk, its length, its time."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(folder))] = (path.readlink(),)
        elif not path.is_dir():
            found[str(path.relative_to(folder))] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return found
