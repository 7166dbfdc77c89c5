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
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m6.config import UserError
from m6.corpus.document import Document, from_row
from m6.run import progress, write_atomic
from m6.shards import Shards
from m6.tasks.leaks import is_thing, leaks, near_texts

NEGATIVES = 3
TITLE = "# Task files"
"""Of the README, by which a folder is known to be one of these."""
TEST_SHARE = 0.67
"""Of what is held out; the rest is for validation."""

Record = dict[str, Any]
Maker = Callable[["Material", Document], Iterator[Record]]


class Material:
    """What makers of records ask for beside their document."""

    def __init__(self, documents: Sequence[Document], out: Path) -> None:
        self.out = out
        self._written: set[str] = set()
        self.classified: set[frozenset[str]] = set()
        """The words of each text that stands in a record of classification."""
        texts: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for each in filter(is_thing, documents):
            texts[_side(each), _category(each)].add(each["text"])
            texts[_side(each),].add(each["text"])
        self._texts = {key: sorted(found) for key, found in texts.items()}

    def picture(self, document: Document) -> str:
        """The path of its picture from the folder of a task; the file is written."""
        name = f"{document['source']}-{document['id']}.png"
        path = self.out / "pictures" / name
        if name not in self._written:
            path.write_bytes(document["images"][0]["bytes"])  # the README, written last, says that all are whole
            self._written.add(name)
        return f"../pictures/{name}"

    def negatives(self, document: Document) -> list[str]:
        """Texts of other things of its category, on its side of the split, of any category if there are too few; none
        has the name of another, or the same words."""
        found: list[str] = []
        side = _side(document)
        for pool in (self._texts[side, _category(document)], self._texts[side,]):
            rng = np.random.default_rng(int(document["id"][:8], 16))
            for index in rng.permutation(len(pool)):
                if len(found) < NEGATIVES and not any(_alike(pool[index], each) for each in (document["text"], *found)):
                    found.append(pool[index])
        return found


def write_tasks(
    corpus: Path, out: Path, readable: Callable[[str], bool] = lambda text: True
) -> dict[str, dict[str, int]]:
    """Writes all task files; returns how many records each has, by task and split. Records with a text that is not
    readable, too long for the run that they are meant for, are left out. UserError if the corpus cannot be read or the
    folder holds something else."""
    shards, origin = Shards(corpus), _origin(corpus)
    readme = out / "README.md"
    _check_free(out, readme, origin)
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(readme, f"{TITLE}\n\n{origin}\nUnfinished: the same `m6 tasks` writes them anew.\n")
    for old in out.glob("*/*.jsonl"):  # a split that is not written any more would be read as one of these
        old.unlink()
    (out / "pictures").mkdir(exist_ok=True)
    documents = [from_row(shards[row]) for row in range(len(shards))]
    leaked = leaks(documents)
    kept = [each for each in documents if each["id"] not in leaked]
    material = Material(kept, out)
    records: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for document in progress(sorted(kept, key=lambda each: each["split"] != "train"), "tasks"):
        for task, make in MAKERS.items():
            for record in make(material, document):
                for name in _files(document) if "image" in record else _files(document)[:1]:
                    records[task][name].append(record)
    for name, found in records["question_answering"].items():
        records["question_answering"][name] = _one_a_question(found)
    alike = 0
    for task, field in TEXTS.items():
        alike += _leave_out_alike(records[task], field)
    long = sum(_leave_out_long(splits, readable) for splits in records.values())
    counts, lines = {}, []
    for task, splits in records.items():
        if not splits:
            continue
        (out / task).mkdir(exist_ok=True)
        counts[task] = {name: len(found) for name, found in splits.items()}
        for name, found in sorted(splits.items()):
            text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found)
            write_atomic(out / task / f"{name}.jsonl", text)
            lines.append(f"| {task} | {name} | {len(found):,} | `{hashlib.sha256(text.encode()).hexdigest()[:16]}` |")
    write_atomic(readme, _readme(origin, lines, len(leaked), alike, long))
    return counts


def _captioning(material: Material, document: Document) -> Iterator[Record]:
    if document["images"] and document["text"]:
        keywords = {"keywords": document["keywords"]} if is_thing(document) and document["keywords"] else {}
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
    if is_thing(document):
        negatives = material.negatives(document)
        if len(negatives) == NEGATIVES:
            yield {"image": material.picture(document), "text": document["text"], "negatives": negatives}


def _retrieval(material: Material, document: Document) -> Iterator[Record]:
    if is_thing(document):
        unseen = {"kind": _unseen(document)} if document["split"] != "train" else {}
        yield {"image": material.picture(document), "texts": [document["text"]], **unseen}


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
    """The same words once: many pictures show one thing, and what was trained on is not asked."""
    words = frozenset(document["keywords"])
    if is_thing(document) and words and _category(document) and words not in material.classified:
        material.classified.add(words)
        yield {"text": "、".join(document["keywords"]), "label": _category(document)}


def _text_to_image(material: Material, document: Document) -> Iterator[Record]:
    if document["images"] and document["text"]:
        yield {"text": document["text"], "image": material.picture(document)}


MAKERS: dict[str, Maker] = {
    "captioning": _captioning,
    "visual_question_answering": _visual_question_answering,
    "matching": _matching,
    "retrieval": _retrieval,
    "question_answering": _question_answering,
    "poems": _poems,
    "product_description": _product_description,
    "classification": _classification,
    "text_to_image": _text_to_image,
}

TEXTS = {"product_description": "description", "classification": "text"}
"""Tasks that are about the texts of pictures, and the field of the text. Many pictures rightly have one text, so that
these are compared where they are asked for, and not document by document."""


def _leave_out_alike(splits: dict[str, list[Record]], field: str) -> int:
    """Leaves held-out records out whose text nearly equals a trained one, and splits of which nothing is left; returns
    how many texts that were."""
    trained = [record[field] for record in splits.get("train", ())]
    held = list(dict.fromkeys(record[field] for name, found in splits.items() if name != "train" for record in found))
    alike = {held[index] for index in near_texts(held, trained)} | (set(held) & set(trained))
    for name in splits.keys() - {"train"}:
        splits[name] = [record for record in splits[name] if record[field] not in alike]
        if not splits[name]:
            del splits[name]
    return len(alike)


def _leave_out_long(splits: dict[str, list[Record]], readable: Callable[[str], bool]) -> int:
    """Leaves records out of which a text is not readable; returns how many those were."""

    def fits(record: Record) -> bool:
        values = [value for name, value in record.items() if name != "image"]
        texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
        return all(readable(text) for text in texts)

    before = sum(map(len, splits.values()))
    for name in list(splits):
        splits[name] = [record for record in splits[name] if fits(record)]
        if not splits[name]:
            del splits[name]
    return before - sum(map(len, splits.values()))


def _origin(corpus: Path) -> str:
    """A line that names a corpus by its content."""
    digest = hashlib.sha256((corpus / "manifest.json").read_bytes()).hexdigest()[:16]
    return f"Corpus `{digest}`."


def _check_free(out: Path, readme: Path, origin: str) -> None:
    """UserError unless task files of that corpus, and nothing else, may stand in the folder."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; --out names a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    told = readme.read_text("utf-8") if readme.is_file() else ""
    if not told.startswith(TITLE):
        raise UserError(f"{out}: not empty and not a folder of task files; give another --out")
    if origin not in told.splitlines():
        raise UserError(f"{out}: task files of another corpus; give another --out, or remove this folder first")


def _one_a_question(records: Sequence[Record]) -> list[Record]:
    """Records of one question as one, with all right answers."""
    answers: dict[str, list[str]] = defaultdict(list)
    for each in records:
        answers[each["question"]] += [each["answer"]] if each["answer"] not in answers[each["question"]] else []
    return [
        {"question": question, "answer": found[0]} if len(found) == 1 else {"question": question, "answers": found}
        for question, found in answers.items()
    ]


def _alike(one: str, other: str) -> bool:
    """Whether two texts are the same answer: the same name, which stands first, or the same words."""
    words, others = (re.findall(r"[^。、\s]+", text) for text in (one, other))
    return words[:1] == others[:1] or set(words) == set(others)


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
    unseen = _unseen(document)
    return ["test", *([f"test-{unseen}"] if document["images"] and unseen else [])]


def _unseen(document: Document) -> str:
    """What training has not shown of a held-out picture."""
    return document["attributes"].get("unseen") or ("concept" if is_thing(document) else "")


def _readme(origin: str, lines: list[str], leaked: int, alike: int, long: int) -> str:
    return "\n".join(
        [
            TITLE,
            "",
            origin,
            f"{leaked:,} held-out documents and {alike:,} texts of pictures were left out, since they nearly equal",
            f"what was trained on, and {long:,} records, since the run reads no text of that length.",
            "",
            "| task | file | records | sha256 |",
            "| --- | --- | --- | --- |",
            *lines,
            "",
        ]
    )
