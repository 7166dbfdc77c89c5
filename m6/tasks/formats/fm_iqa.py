"""FM-IQA: free questions and answers in Chinese about pictures of COCO 2014; 150,000 pictures, 310,000 pairs.

    FM-CH-QA.json, FM-IQA.json   {"train": [{"question_id": "0", "image_id": "391895", "Question": "他在骑什么？",
                                  "Answer": "摩托车。"}, …], "val": […]}
    train2014/, val2014/         COCO_train2014_000000391895.jpg, COCO_val2014_…

No test split was published. Once at http://idl.baidu.com/FM-IQA.html (https://arxiv.org/abs/1505.05612); names and
fields as those read it who have it, a number of 12 digits in the names of pictures
(https://github.com/search?q=FM-CH-QA.json&type=code).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.tasks.example import Record
from m6.tasks.formats.folder import COCO_PLACES, Pictures

SUMMARY = "FM-IQA"
TASKS = ("visual_question_answering",)
LISTS = {"train": "train", "validation": "val"}
FILES = dict.fromkeys(LISTS, (("FM-CH-QA.json",), ("FM-IQA.json",)))


def records(files: tuple[Path, ...], folder: Path, split: str, task: str) -> Iterator[tuple[str, Record]]:
    """A record a question. Names of fields may be in small letters too."""
    (path,) = files
    try:
        whole = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:  # both broken JSON and broken UTF-8
        raise UserError(f"{path}: broken JSON, {error}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    name = LISTS[split]
    if not isinstance(whole, dict) or not isinstance(whole.get(name), list):
        raise UserError(f'{path}: no list "{name}"; it is one object with the lists "train" and "val"')
    pictures = Pictures(folder, COCO_PLACES)
    for index, item in enumerate(whole[name]):
        where = f"{path}, {name}[{index}]"
        if not isinstance(item, dict):
            raise UserError(f"{where}: no JSON object")
        row = {field.lower(): value for field, value in item.items()}
        missing = [field for field in ("image_id", "question", "answer") if field not in row]
        if missing:
            raise UserError(f'{where}: no field "{missing[0]}"')
        number = f"{row['image_id']!s:0>12}"
        halves = ("train", "val") if name == "train" else ("val", "train")
        image = pictures.find(tuple(f"COCO_{half}2014_{number}.jpg" for half in halves), where)
        yield f"{path.name} {name}[{index}]", {"image": image, "question": row["question"], "answer": row["answer"]}
