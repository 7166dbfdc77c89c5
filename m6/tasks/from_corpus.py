"""Task files out of a built corpus: what was trained on as a training split, what is held out as validation and test.

    m6 tasks CORPUS --out FOLDER

writes FOLDER/<task>/{train,validation,test}.jsonl, the pictures beside them, and a README of counts and hashes. What is
held out is split once more, by its group (concept, key, author or combination), so that validation and test share none.
A picture that nearly equals one that was trained on, and a question that equals one, is left out of both.

Of pictures there are two held-out sides, told apart in files of their own: `test-picture.jsonl`, unseen pictures of
seen concepts, and `test-concept.jsonl`, concepts never seen.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from m6.config import UserError
from m6.corpus.document import Document, from_row
from m6.corpus.images.prepare import difference_hash
from m6.run import progress, write_atomic
from m6.shards import Shards

NEAR = 3
"""Bits of the hashes in which pictures may differ that count as the same."""
NEGATIVES = 3
TEST_SHARE = 0.67
"""Of what is held out; the rest is for validation."""
SCENES = "scenes"

Record = dict[str, Any]
Maker = Callable[["Material", Document], Iterator[Record]]


class Material:
    """What makers of records ask for beside their document."""

    def __init__(self, documents: Sequence[Document], out: Path) -> None:
        self.out = out
        self._written: set[str] = set()
        self._texts: dict[tuple[str, str], list[str]] = defaultdict(list)
        for each in documents:
            if _is_thing(each):
                self._texts[_side(each), _category(each)].append(each["text"])

    def picture(self, document: Document) -> str:
        """The path of its picture from the folder of a task; the file is written."""
        name = f"{document['source']}-{document['id']}.png"
        path = self.out / "pictures" / name
        if name not in self._written:
            path.write_bytes(document["images"][0]["bytes"])  # the README, written last, says that all are whole
            self._written.add(name)
        return f"../pictures/{name}"

    def negatives(self, document: Document) -> list[str]:
        """Texts of other things of its category, on its side of the split; of any category if there are too few."""
        own = document["text"]
        found: list[str] = []
        for pool in (self._texts[_side(document), _category(document)], self._side(document)):
            others = sorted(set(pool) - {own, *found})
            rng = np.random.default_rng(int(document["id"][:8], 16))
            found += [others[index] for index in rng.permutation(len(others))[: NEGATIVES - len(found)]]
        return found

    def _side(self, document: Document) -> list[str]:
        return [text for (side, _), texts in self._texts.items() if side == _side(document) for text in texts]


def write_tasks(corpus: Path, out: Path) -> dict[str, dict[str, int]]:
    """Writes all task files; returns how many records each has, by task and split. UserError if the corpus cannot be
    read or the folder holds something else."""
    shards = Shards(corpus)
    if out.exists() and any(out.iterdir()) and not (out / "README.md").exists():
        raise UserError(f"{out}: not empty and not a folder of task files; give another --out")
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    documents = [from_row(shards[row]) for row in range(len(shards))]
    leaked = leaks(documents)
    kept = [each for each in documents if each["id"] not in leaked]
    material = Material(kept, out)
    records: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for document in progress(kept, "tasks"):
        for task, make in MAKERS.items():
            for record in make(material, document):
                for name in _files(document):
                    records[task][name].append(record)
    counts, lines = {}, []
    for task, splits in records.items():
        (out / task).mkdir(exist_ok=True)
        counts[task] = {name: len(found) for name, found in splits.items()}
        for name, found in sorted(splits.items()):
            text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)
            write_atomic(out / task / f"{name}.jsonl", text)
            lines.append(f"| {task} | {name} | {len(found):,} | `{hashlib.sha256(text.encode()).hexdigest()[:16]}` |")
    write_atomic(out / "README.md", _readme(lines, leaked))
    return counts


def leaks(documents: Sequence[Document]) -> set[str]:
    """The ids of held-out documents that nearly equal one that was trained on: pictures of things, and questions."""
    trained = [each for each in documents if each["split"] == "train"]
    asked = {
        _letters(each["question"]) for document in trained if not document["images"] for each in document["questions"]
    }
    hashes = np.array([_hash(each) for each in trained if _is_thing(each)], np.uint64)
    found = set()
    for document in documents:
        if document["split"] == "train":
            continue
        if _is_thing(document):
            apart = np.bitwise_count(hashes ^ np.uint64(_hash(document)))
            leaked = bool((apart <= NEAR).any())
        else:
            leaked = not document["images"] and any(
                _letters(each["question"]) in asked for each in document["questions"]
            )
        if leaked:
            found.add(document["id"])
    return found


def _captioning(material: Material, document: Document) -> Iterator[Record]:
    if document["images"] and document["text"]:
        keywords = {"keywords": document["keywords"]} if _is_thing(document) and document["keywords"] else {}
        yield {"image": material.picture(document), "caption": document["text"], **keywords}


def _visual_question_answering(material: Material, document: Document) -> Iterator[Record]:
    if document["images"]:
        unseen = document["attributes"].get("unseen") or ("concept" if document["split"] == "heldout" else "seen")
        for asked in document["questions"]:
            kind = f"{unseen}.{asked['kind']}"
            yield {
                "image": material.picture(document), "question": asked["question"], "answer": asked["answer"],
                "kind": kind,
            }  # fmt: skip


def _matching(material: Material, document: Document) -> Iterator[Record]:
    if _is_thing(document):
        negatives = material.negatives(document)
        if len(negatives) == NEGATIVES:
            yield {"image": material.picture(document), "text": document["text"], "negatives": negatives}


def _retrieval(material: Material, document: Document) -> Iterator[Record]:
    if _is_thing(document):
        yield {"image": material.picture(document), "texts": [document["text"]]}


def _question_answering(material: Material, document: Document) -> Iterator[Record]:
    if not document["images"]:
        for asked in document["questions"]:
            yield {"question": asked["question"], "answer": asked["answer"]}


def _poems(material: Material, document: Document) -> Iterator[Record]:
    form = document["attributes"].get("form")
    if form and document["title"] and not document["images"]:
        author = document["attributes"].get("author", document["group"])
        yield {"title": document["title"], "form": form, "poem": document["text"], "author": author}


def _product_description(material: Material, document: Document) -> Iterator[Record]:
    if document["source"].startswith("shop_") and document["title"] and document["title"] != document["text"]:
        image = {"image": material.picture(document)} if document["images"] else {}
        yield {"title": document["title"], **image, "description": document["text"]}


def _classification(material: Material, document: Document) -> Iterator[Record]:
    if _is_thing(document) and document["keywords"] and _category(document):
        yield {"text": "、".join(document["keywords"]), "label": _category(document)}


MAKERS: dict[str, Maker] = {
    "captioning": _captioning,
    "visual_question_answering": _visual_question_answering,
    "matching": _matching,
    "retrieval": _retrieval,
    "question_answering": _question_answering,
    "poems": _poems,
    "product_description": _product_description,
    "classification": _classification,
}


def _is_thing(document: Document) -> bool:
    """Whether it is a picture of one named thing."""
    return bool(document["images"] and document["text"] and document["source"] != SCENES)


def _category(document: Document) -> str:
    return document["attributes"].get("category", "")


def _side(document: Document) -> str:
    """What was seen of it: all, its concept, or nothing."""
    return document["attributes"].get("unseen", "") or document["split"]


def _files(document: Document) -> list[str]:
    """The splits that it stands in."""
    if document["split"] == "train":
        return ["train"]
    drawn = hashlib.sha256(f"test {document['group']}".encode()).digest()[0] / 256
    if drawn >= TEST_SHARE:
        return ["validation"]
    unseen = document["attributes"].get("unseen") or ("concept" if _is_thing(document) else "")
    return ["test", *([f"test-{unseen}"] if document["images"] and unseen else [])]


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text)


def _hash(document: Document) -> int:
    with Image.open(io.BytesIO(document["images"][0]["bytes"])) as picture:
        return difference_hash(picture.convert("RGB"))


def _readme(lines: list[str], leaked: set[str]) -> str:
    return "\n".join(
        [
            "# Task files",
            "",
            f"Made by `m6 tasks` out of a corpus. {len(leaked):,} held-out documents were left out, since they nearly",
            "equal what was trained on.",
            "",
            "| task | file | records | sha256 |",
            "| --- | --- | --- | --- |",
            *lines,
            "",
        ]
    )
