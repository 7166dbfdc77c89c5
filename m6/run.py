"""The run folder, and what every long job shares: atomic files, metrics, progress, peak memory.

One folder holds a whole run, from the corpus to the report:

    config.json    the resolved recipe, written first; another config is refused
    versions.json  what it was made with
    <stage>/       what a stage made; its done.json is written last, so a stage without one is unfinished
    .lock          held by the process that writes here

Any process may be killed at any moment: a file is either the old one or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar, overload

from m6.config import Config, UserError, differences

Item = TypeVar("Item")


class EndedError(Exception):
    """A job that ends before it is done, and from where the same command goes on: why, as one line, and the exit code.
    Of several processes one has a line to tell; those of the others are empty."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


_PACKAGES = (
    "open-m6",
    "torch",
    "numpy",
    "pyarrow",
    "daft",
    "tokenizers",
    "safetensors",
    "pillow",
    "vector-quantize-pytorch",
)
_LINE_SECONDS = 10.0  # between two lines of progress where there is no terminal
_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_locks: dict[Path, IO[str]] = {}  # open for as long as the process lives


class Run:
    """A run folder, opened for writing. Make one with `Run.open`."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.config = config
        self._started: dict[str, tuple[float, bool]] = {}

    @classmethod
    def open(cls, folder: Path | str, config: Config) -> Run:
        """The run of this config in this folder, which is made if it is not there, and locked against other processes.

        Raises UserError if the folder is no run folder, belongs to another config (all fields that differ are named),
        or is being written by another process.
        """
        folder = Path(folder).resolve()
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: a file; a run needs a folder, give another --out")
        saved = folder / "config.json"
        if not saved.exists() and folder.exists() and any(not p.name.startswith(".") for p in folder.iterdir()):
            raise UserError(f"{folder}: not empty and not a run folder (no config.json), give another --out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: cannot be made ({error.strerror}), give another --out") from None
        _lock(folder)
        if saved.exists():
            before = type(config).read(saved)
            if changed := differences(before, config):
                raise UserError(
                    f"{folder} holds a run of another config (field: there, here): {'; '.join(changed)}."
                    " Give another --out, or the recipe and flags it was made with"
                )
            if before != config:  # in fields that may change
                config.write(saved)
        else:
            config.write(saved)
        if not (folder / "versions.json").exists():
            write_atomic(folder / "versions.json", json.dumps(versions(), indent=2) + "\n")
        return cls(folder, config)

    def stage(self, name: str) -> Path:
        """The folder of a stage, made if needed; the clock of the stage starts at the first call."""
        path = self.folder / name
        if name not in self._started:
            self._started[name] = (time.monotonic(), path.exists())
        path.mkdir(exist_ok=True)
        return path

    def leave(self) -> None:
        """Remove the folder if nothing has been made in it, so that a corrected command finds it free."""
        for path in self.folder.iterdir():
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if {path.name for path in self.folder.iterdir()} <= {"config.json", "versions.json", ".lock"}:
            _locks.pop(self.folder).close()
            shutil.rmtree(self.folder)

    def done(self, name: str) -> dict[str, Any] | None:
        """The figures with which a stage ended, or None if it has not ended."""
        return read_done(self.folder, name)

    def finish(self, name: str, **figures: Any) -> None:
        """Mark a stage as done; call it last. `seconds` (of this process, wall clock), `resumed` and `peak_rss_gib`
        are added unless given."""
        folder = self.stage(name)
        started, resumed = self._started[name]
        measured = {"seconds": round(time.monotonic() - started, 3), "peak_rss_gib": round(peak_rss_gib(), 3)}
        write_atomic(folder / "done.json", json.dumps({**measured, "resumed": resumed, **figures}, indent=2) + "\n")


def read_done(folder: Path | str, stage: str) -> dict[str, Any] | None:
    """The figures with which a stage of a run folder ended, or None if it has not ended."""
    path = Path(folder) / stage / "done.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _lock(folder: Path) -> None:
    """Keep other processes from writing here until this one ends, however it ends.

    A POSIX record lock belongs to one process and is not inherited: loader workers that outlive a killed trainer for
    some seconds do not hold it, as they would hold a `flock`.
    """
    if folder in _locks:
        return
    file = open(folder / ".lock", "a+")  # noqa: SIM115, it stays open: closing it would give the lock back
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(
            f"{folder}: another process is writing here, wait for it to end or give another --out"
        ) from None
    _locks[folder] = file


def versions() -> dict[str, str]:
    """The versions of Python, of the machine's system and of the installed packages that decide what a run gives."""
    import importlib.metadata  # slow to import, and no help page needs it
    import platform

    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def check_writable(folder: Path, flag: str) -> None:
    """UserError unless files can be made in a folder, or in the nearest one above it if it is not there yet. flag: the
    one that names another."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        line = f"{there}: nothing can be written there ({error.strerror}); name another place with {flag}"
        raise UserError(line) from None


def write_atomic(path: Path | str, content: bytes | str) -> None:
    """Write a file so that it is the old one or the whole new one at any moment; text is UTF-8.

    The temporary file has one fixed name beside it, so what a killed process left is overwritten the next time.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path | str) -> None:
    """Make the names in a folder durable: after this a renamed file survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ends_with_parent() -> Callable[[], None] | None:
    """The `preexec_fn` of a child process that is killed when this one ends, however it ends; None where the system is
    not Linux, which alone can."""
    if sys.platform != "linux":
        return None
    import ctypes  # slow to import, and few processes start others

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os.kill(os.getpid(), signal.SIGKILL)

    return bind


def peak_rss_gib() -> float:
    """The most memory this process has held, plus that of its largest child that has ended, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB here
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where ru_maxrss starts at what the process held that started this one
        own = next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM:"))
    return (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit) / 2**30


class Metrics:
    """Metrics of a training as JSON lines, one row a call: {"step": 10, "loss": 3.2, ...}.

    A row is on its way to the file when `log` returns; non-finite numbers become null. If TensorBoard is installed, its
    event files are written beside the rows.
    """

    def __init__(self, path: Path | str, resume_step: int = 0) -> None:
        """Open `path`, dropping the rows at or after `resume_step`: those steps are about to be done again."""
        self.path = Path(path)
        rows = [row for row in read_metrics(self.path) if row["step"] < resume_step]
        write_atomic(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115, closed by close()
        self._events = _event_writer(self.path.parent / "tensorboard", resume_step)

    def log(self, step: int, **values: float | str | None) -> None:
        """Add one row; numbers of any library are taken as floats."""
        row = {name: _plain(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **row}, ensure_ascii=False) + "\n")
        self._file.flush()
        if self._events is not None:
            self._events(step, {name: value for name, value in row.items() if isinstance(value, int | float)})

    def close(self) -> None:
        """Close the file. A killed process loses nothing that was logged."""
        self._file.close()


def read_metrics(path: Path | str) -> list[dict[str, Any]]:
    """The rows of a metrics file in order; a last line cut short by a kill is left out."""
    if not Path(path).exists():
        return []
    whole = [line for line in Path(path).read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [json.loads(line) for line in whole]


def _plain(value: Any) -> int | float | str | None:
    if value is None or isinstance(value, int | str):
        return value
    return float(value) if math.isfinite(value) else None


def _event_writer(folder: Path, resume_step: int) -> Any:
    """A function (step, values) that writes TensorBoard events, or None where it is not installed."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        return None
    writer = EventFileWriter(str(folder), flush_secs=10)
    # Tells TensorBoard to forget what an earlier file says about this step and later ones.
    start = SessionLog(status=SessionLog.START)
    writer.add_event(Event(wall_time=time.time(), step=resume_step, session_log=start))

    def add(step: int, values: dict[str, float]) -> None:
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    return add


class Progress(Generic[Item]):
    """How far a job is and how long it will take: iterate over it, or use it as a context and call `advance`."""

    def __init__(
        self, items: Iterable[Item], description: str, total: int | None, start: int, quiet: bool = False
    ) -> None:
        self._items, self._description, self._total = items, description, total
        self._quiet = quiet
        self._start = self._at = start
        self._note = ""
        self._began = self._said = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress[Item]:
        self._began = self._said = time.monotonic()
        if sys.stderr.isatty() and not self._quiet:
            self._bar, self._task = _terminal_bar(self._description, self._total, self._start)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._say(f"{self._at} in {duration(time.monotonic() - self._began)}")

    def __iter__(self) -> Iterator[Item]:
        with self:
            for item in self._items:
                yield item
                self.advance()

    def note(self, text: str) -> None:
        """Show a few words behind the bar, such as the loss."""
        self._note = text

    def advance(self, count: int = 1) -> None:
        """Count some more as done."""
        self._at += count
        if self._bar is not None:
            self._bar.update(self._task, completed=self._at, note=self._note)
            return
        now = time.monotonic()
        if now - self._said >= _LINE_SECONDS and self._at != self._total:
            self._said = now
            left = ""
            if self._total:
                rate = (self._at - self._start) / (now - self._began)
                left = f" ({100 * self._at // self._total} %), {duration((self._total - self._at) / rate)} left"
            self._say(f"{self._at}{f' of {self._total}' if self._total else ''}{left}")

    def _say(self, text: str) -> None:
        if self._quiet:
            return
        print(f"{self._description}: {text}{f', {self._note}' if self._note else ''}", file=sys.stderr, flush=True)


@overload
def progress(items: int, description: str, *, start: int = 0, quiet: bool = False) -> Progress[int]: ...
@overload
def progress(
    items: Iterable[Item], description: str, *, total: int | None = None, start: int = 0, quiet: bool = False
) -> Progress[Item]: ...
def progress(
    items: Any, description: str, *, total: int | None = None, start: int = 0, quiet: bool = False
) -> Progress[Any]:
    """Show how far a job is, with the time left: `for step in progress(1000, "pretrain", start=200): ...`.

    `items` is what to iterate over, or how many steps there are: then the bar yields range(start, items), or counts
    what `advance` is told: `with progress(8, "corpus") as bar: bar.advance()`. `start` counts what was done before,
    and `total` everything; without it, it is `start + len(items)` where that is known. It is a bar on a terminal;
    elsewhere a line on stderr every 10 s, and one at the end. `quiet` shows nothing.
    """
    if isinstance(items, int):
        total, items = items, range(start, items)
    elif total is None and hasattr(items, "__len__"):
        total = start + len(items)
    return Progress(items, description, total, start, quiet)


def _terminal_bar(description: str, total: int | None, start: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    remaining = (TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
    bar = Bar(*columns, *remaining, console=Console(stderr=True))
    return bar, bar.add_task(description, total=total, completed=start, note="")


def duration(seconds: float) -> str:
    """Seconds as people say them: "8 s", "3 min 20 s", "1 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
