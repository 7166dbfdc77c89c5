"""What is in a package: its files by name, whichever client brought it.

A wheel is a zip and is read as it is. An npm tarball and a .deb can only be read from their beginning, so the files
that a collection wants are stored once more in a zip beside the package, out of which any worker reads any file.
Nothing is ever unpacked into the file system, so that names such as `../../etc/passwd` are nothing but names. What
unpacks to more than is sane is refused.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

STORED = ".members.zip"
ZIPS = (".whl", ".zip")
DRAWN = 192  # pixels: with its margin cut off a drawing is still sharp at 128
LARGEST_MEMBER = 64 * 2**20  # bytes of one file
LARGEST_PACKAGE = 4 * 2**30  # bytes of all files together
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the same zip from the same package


class PackageError(Exception):
    """A package that cannot be read: cut short, or not what its name says."""


class Archive:
    """The files of a package by name, sorted; a context that closes the file. `drawn`: side in pixels at which drawings
    in it are rendered."""

    def __init__(self, path: Path, drawn: int = DRAWN) -> None:
        """Open a wheel, or what `store` has made of another package. PackageError if it is no whole zip."""
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError) as error:
            raise PackageError(str(error)) from None
        self.drawn = drawn
        self.names = sorted(info.filename for info in self._zip.infolist() if not info.is_dir())
        self._there = frozenset(self.names)

    def __contains__(self, name: str) -> bool:
        return name in self._there

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    def read(self, name: str) -> bytes:
        """One file. PackageError if it is not there, too large, or its bytes are not those that were packed."""
        try:
            size = self._zip.getinfo(name).file_size
            if size > LARGEST_MEMBER:
                raise PackageError(f"{name} has {size:,} bytes")
            return self._zip.read(name)
        except (KeyError, zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            raise PackageError(f"{name}: {error}") from None

    def matching(self, wanted: str) -> list[str]:
        """The names that match a regular expression as a whole."""
        pattern = re.compile(wanted)
        return [name for name in self.names if pattern.fullmatch(name)]


def store(package: Path, wanted: str) -> Path:
    """The zip to read a package from; it is made if it is not there, whole or not at all.

    In: a wheel or zip, a .tgz or a .deb, and a regular expression of the names that are wanted. PackageError if the
    package is damaged or has none of them.
    """
    if package.suffix not in ZIPS:
        stored = package.with_name(package.name + STORED)
        if not is_stored(package, wanted):
            _store(package, wanted, stored)
        package = stored
    with Archive(package) as archive:
        if not archive.matching(wanted):
            raise PackageError("none of its files is one that is wanted")
    return package


def is_stored(package: Path, wanted: str) -> bool:
    """Whether the files of a package can be read at once: it is a zip itself, or has been stored in one."""
    if package.suffix in ZIPS:
        return True
    try:
        with zipfile.ZipFile(package.with_name(package.name + STORED)) as archive:
            return archive.comment == wanted.encode()
    except (zipfile.BadZipFile, OSError):
        return False


def _store(package: Path, wanted: str, stored: Path) -> None:
    """Write the zip; its comment says what was wanted."""
    temporary = stored.with_name(f".{stored.name}.tmp")
    pattern = re.compile(wanted)
    try:
        with open(temporary, "wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.comment = wanted.encode()
                for name, stream in _members(package):
                    if pattern.fullmatch(name):
                        archive.writestr(_info(name), stream.read(), compresslevel=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, stored)
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise PackageError(str(error) or "it ends too early") from None
    finally:
        temporary.unlink(missing_ok=True)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_FIXED_TIME)
    info.create_system = 3  # else the byte would tell Windows from Unix
    packed = name.endswith((".png", ".gz"))
    info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    return info


def _members(package: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of a package by name, without the folder that npm wraps around them."""
    total = 0
    with open(package, "rb") as file:
        stream = _content(file)
        deb = package.suffix == ".deb"
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # as a stream: links are not followed
            for member in tar:
                if not member.isfile():
                    continue
                total += member.size
                if member.size > LARGEST_MEMBER or total > LARGEST_PACKAGE:
                    raise PackageError(f"it unpacks to too much ({member.name})")
                content = tar.extractfile(member)
                assert content, "a regular file has content"
                yield member.name.removeprefix("./") if deb else member.name.partition("/")[2], content
        while stream.read(2**20):  # to the end, where the checksum is: tarfile stops before it
            pass


def _content(file: IO[bytes]) -> Any:
    """The unpacked tar of a package, as a stream that raises if the file ends too early."""
    start = file.read(8)
    if start == b"!<arch>\n":
        name, size = _seek_data(file)
        packed: Any = io.BufferedReader(_Window(file, size))
    else:
        name = "gz" if start.startswith(b"\x1f\x8b") else ""
        file.seek(0)
        packed = file
    if name.endswith("gz"):
        return gzip.GzipFile(fileobj=packed)
    if name.endswith("xz"):
        return lzma.LZMAFile(packed)
    if name.endswith("zst"):
        import pyarrow as pa  # Python itself reads Zstandard only from 3.14 on

        return pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd")
    raise PackageError("it is neither a .tgz nor a .deb")


def _seek_data(file: IO[bytes]) -> tuple[str, int]:
    """Go to the data in a .deb and return its name and size. A .deb is an `ar` archive: members after headers of 60
    bytes, the last of them a packed tar."""
    while len(header := file.read(60)) == 60:
        name, digits = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
        if not digits.isdigit():
            break
        if name.startswith("data.tar"):
            return name, int(digits)
        file.seek(int(digits) + int(digits) % 2, io.SEEK_CUR)
    raise PackageError("it has no data")


class _Window(io.RawIOBase):
    """The next bytes of a file, as a file of its own."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)
