"""Files: finding and opening them, on this machine or in object storage.

In: the paths of a recipe: files, folders, patterns (`data/*.jsonl`), ranges (`{00000..00041}.tar`) and URLs (s3://,
gs://, hdfs://, file://). Out: a list of plain paths in a fixed order, and open files. A URL is taken letter by letter;
what stands after a question mark in it are options of the file system, `?endpoint_override=localhost:9000`.
"""

from __future__ import annotations

import bz2
import functools
import glob
import gzip
import io
import itertools
import lzma
import posixpath
import re
import zlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.fs as pafs

from m6.config import UserError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)
"""What reading a damaged file or a lost connection may raise."""

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_BUFFER = 2**20  # bytes read at once
_UNPACKED = 2**16  # bytes unpacked at once: an error takes away what was unpacked with it
_FREE_BYTES = 64 * 2**20  # unpacked, before the ratio counts
_LARGEST_RATIO = 200  # of unpacked to packed bytes; real text stays below 50


class ZipBombError(OSError):
    """A file that unpacks to far more than text does."""


def why_unreadable(error: Exception) -> str:
    """The reason of a Drop for one of `READ_ERRORS`."""
    return "zip bomb" if isinstance(error, ZipBombError) else "unreadable file"


def find(paths: tuple[str, ...], endings: tuple[str, ...], field: str) -> list[str]:
    """The files that the paths of a recipe name, each once, in the order of the paths.

    Folders are searched through, in the order of names, for files that end in one of `endings` (".jsonl"), perhaps
    followed by that of a compression; names that begin with a dot or an underscore are passed over, as other tools
    do. A file or pattern given by name counts whatever its ending. UserError naming `field`
    ("corpus.sources.shop.paths") if nothing is given, something is missing, or nothing fits.
    """
    looked_for = " ".join(endings)
    if not paths:
        raise UserError(f"{field}: no files given; name files, folders, patterns or URLs ({looked_for})")
    found: dict[str, None] = {}
    for path in itertools.chain.from_iterable(map(_expand_range, paths)):
        try:
            files = _find_remote(path, endings, field) if is_url(path) else _find_local(path, endings, field)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{field}: {path}: cannot be read: {' '.join(str(error).split())}") from error
        if not files:
            raise UserError(f"{field}: {path}: nothing found there; looked for files that end in {looked_for}")
        found.update(dict.fromkeys(files))
    return list(found)


def is_url(path: str) -> bool:
    """Whether a path is a URL, like s3://bucket/name."""
    return _URL.match(path) is not None


def size(path: str) -> int:
    """Bytes of the file as it is stored. OSError if it is missing."""
    if not is_url(path):
        return Path(path).stat().st_size
    system, name = _system(path)
    count = system.get_file_info(name).size
    if count is None:
        raise FileNotFoundError(path)
    return int(count)


def open_file(path: str) -> BinaryIO:
    """The file for reading, buffered and seekable. OSError if it is missing."""
    if not is_url(path):
        return open(path, "rb", buffering=_BUFFER)
    system, name = _system(path)
    return cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, system.open_input_file(name)), _BUFFER))


def open_arrow(path: str) -> pa.NativeFile:
    """The file for Arrow's own readers. OSError if it is missing."""
    if not is_url(path):
        return pa.OSFile(path, "rb")
    system, name = _system(path)
    return system.open_input_file(name)


def open_text_bytes(path: str) -> BinaryIO:
    """The file for reading from the beginning, decompressed if its ending says that it is compressed.

    Reading raises one of `READ_ERRORS` where the file is damaged, or when it unpacks to more than 200 times its size.
    """
    file = open_file(path)
    unpacked = _unpack(file, compression(path))
    if unpacked is None:
        return file
    return cast(BinaryIO, io.BufferedReader(_Unpacked(unpacked, file, size(path)), _BUFFER))


def compression(path: str) -> str:
    """The ending that says how the file is compressed, or ""."""
    name = _without_options(path).lower()
    return next((ending for ending in COMPRESSED if name.endswith(ending)), "")


def folder_of(path: str) -> str:
    """The folder that a file lies in, as a path or URL of its own."""
    address, mark, options = path.partition("?") if is_url(path) else (path, "", "")
    return (posixpath.dirname(address) or ".") + mark + options


def join(folder: str, name: str) -> str:
    """The path or URL of what is called `name` in a folder."""
    address, mark, options = folder.partition("?") if is_url(folder) else (folder, "", "")
    return posixpath.join(address, name) + mark + options


def picture_bytes(root: str, name: str, most_bytes: int) -> bytes | str:
    """The bytes of a picture in the folder `root`, or the reason why there are none.

    Neither `..` nor an absolute path nor a symbolic link may lead out of the folder.
    """
    if is_url(root) and not root.startswith("file://"):
        return _remote_picture(root, name, most_bytes)
    try:
        folder = Path(root.removeprefix("file://")).resolve()
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            return "image outside the folder"
        if not path.is_file():
            return "missing image"
        return path.read_bytes() if path.stat().st_size <= most_bytes else "large image file"
    except (OSError, ValueError):  # a name too long, or with a null character
        return "missing image"


def _remote_picture(root: str, name: str, most_bytes: int) -> bytes | str:
    plain = posixpath.normpath(name)
    if plain.startswith(("/", "..")) or is_url(name):
        return "image outside the folder"
    url = join(root, plain)
    try:
        if size(url) > most_bytes:
            return "large image file"
        with open_file(url) as file:
            return file.read()
    except (OSError, ValueError, pa.ArrowException):
        return "missing image"


def _expand_range(path: str) -> list[str]:
    """ "{08..11}.tar" as 08.tar, 09.tar, 10.tar, 11.tar; several ranges in one path vary the last one fastest."""
    found = _RANGE.search(path)
    if not found:
        return [path]
    first, last = found[1], found[2]
    width = len(first) if first.startswith("0") else 0
    return [
        path[: found.start()] + str(number).zfill(width) + rest
        for number in range(int(first), int(last) + 1)
        for rest in _expand_range(path[found.end() :])
    ]


def _find_local(path: str, endings: tuple[str, ...], field: str) -> list[str]:
    if Path(path).is_dir():
        return _in_folder(path, endings)
    if Path(path).is_file():
        return [path]
    if not glob.has_magic(path):
        raise UserError(f"{field}: {path}: no such file or folder")
    matches = sorted(glob.glob(path, recursive=True))
    return [file for match in matches for file in (_in_folder(match, endings) if Path(match).is_dir() else [match])]


def _in_folder(folder: str, endings: tuple[str, ...]) -> list[str]:
    inside = (path for path in Path(folder).rglob("*") if path.is_file())
    return sorted(str(path) for path in inside if _fits(path.relative_to(folder).as_posix(), endings))


def _fits(name: str, endings: tuple[str, ...]) -> bool:
    """Whether a path within a folder is looked for."""
    plain = name.lower()
    return not _hidden(name) and (plain.endswith(endings) or plain.removesuffix(compression(plain)).endswith(endings))


def _hidden(name: str) -> bool:
    return any(piece.startswith((".", "_")) for piece in name.split("/"))


def _find_remote(url: str, endings: tuple[str, ...], field: str) -> list[str]:
    scheme = url.partition("://")[0]
    if scheme in ("http", "https"):
        raise UserError(
            f"{field}: {url}: web addresses are not read; download the file, or use s3://, gs:// or hdfs://"
        )
    address, _, options = url.partition("?")
    base, pattern = address, ""
    if "*" in address or "[" in address:
        base = address[: re.search(r"[*\[]", address).start()].rpartition("/")[0]  # type: ignore[union-attr]
        pattern = address[len(base) + 1 :]
    suffix = f"?{options}" if options else ""
    system, name = _system(base + suffix)
    info = system.get_file_info(name)
    if info.type == pafs.FileType.File:
        return [url]
    if info.type == pafs.FileType.NotFound:
        raise UserError(f"{field}: {url}: no such file or folder")
    entries = system.get_file_info(pafs.FileSelector(name, recursive=True))
    inside = [entry.path[len(name) :].strip("/") for entry in entries if entry.type == pafs.FileType.File]
    fitting = [one for one in inside if (_matches(one, pattern) if pattern else _fits(one, endings))]
    return [f"{base.rstrip('/')}/{one}{suffix}" for one in sorted(fitting)]


def _matches(name: str, pattern: str) -> bool:
    """As `glob` has it: `*` stays within a folder, `**` does not."""
    names, patterns = name.split("/"), pattern.split("/")
    if "**" not in patterns:
        return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))
    at = patterns.index("**")
    rest = "/".join(patterns[at + 1 :])
    head = len(names) >= at and all(map(fnmatchcase, names, patterns[:at]))
    return head and any(_matches("/".join(names[start:]), rest) for start in range(at, len(names)))


def _without_options(path: str) -> str:
    return path.partition("?")[0] if is_url(path) else path


def _system(url: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URL, and the name that the file has in it."""
    scheme, _, rest = url.partition("://")
    address, _, options = rest.partition("?")
    authority, _, name = address.partition("/")
    system, base = _connect(f"{scheme}://{authority}", options)
    return system, posixpath.join(base, name)


@functools.lru_cache(maxsize=64)
def _connect(root: str, options: str) -> tuple[pafs.FileSystem, str]:
    return cast(tuple[pafs.FileSystem, str], pafs.FileSystem.from_uri(f"{root}/" + (f"?{options}" if options else "")))


def _unpack(file: BinaryIO, ending: str) -> io.BufferedIOBase | None:
    match ending:
        case ".gz":
            return gzip.GzipFile(fileobj=file, mode="rb")
        case ".bz2":
            return bz2.BZ2File(file)
        case ".xz":
            return lzma.LZMAFile(file)
        case ".zst":
            return cast(io.BufferedIOBase, pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))
    return None


class _Unpacked(io.RawIOBase):
    """A decompressed stream that ends with an error when it grows out of all proportion to its file."""

    def __init__(self, stream: io.BufferedIOBase, file: BinaryIO, packed: int) -> None:
        self._stream = stream
        self._file = file
        self._most = max(_FREE_BYTES, _LARGEST_RATIO * packed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read1(min(len(buffer), _UNPACKED))
        self._count += len(data)
        if self._count > self._most:
            raise ZipBombError(f"unpacks to more than {self._most} bytes")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            self._file.close()
        super().close()
