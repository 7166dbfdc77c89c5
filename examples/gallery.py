"""A page of paintings out of an evaluated run, with its failures: python examples/gallery.py RUN docs

Reads RUN/evaluate (of `m6 evaluate RUN`) and writes `en/gallery.md`, `zh/gallery.md` and `images/gallery/*.png` into
the folder, here that of the docs. Nothing is picked by hand: of each kind the first paintings in the order of the
evaluation, right or wrong, and below them the first that are wrong.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import command

Painting = dict[str, Any]
Words = tuple[str, str]  # English, Chinese

COLUMNS, FIRST, WRONG = 6, 12, 6
KINDS: dict[str, tuple[str, Words]] = {
    "pair": ("scene.paint_right_heldout", ("Unseen combinations of up to three things", "未见过的搭配，至多三样东西")),
    "colour": ("scene.paint_colour_heldout", ("Unseen colours of known things", "已知事物未见过的颜色")),
    "count": ("scene.paint_count_heldout", ("Unseen numbers of known things", "已知事物未见过的数目")),
    "seen": ("text_to_image.right_seen", ("Single pictures seen in training", "训练时见过的单个图片")),
    "filled": (
        "scene.filled_right_heldout",
        ("The right or lower half painted anew, the rest is the real picture", "补画右半或下半，其余是真实图片"),
    ),
    "heldout": ("text_to_image.round_trip_heldout", ("Things that training never showed", "训练中从未出现的事物")),
}
TITLE: Words = ("# Gallery", "# 画廊")
INTRODUCTION: Words = (
    "What the run `{run}` paints, the likeliest code each time, with guidance {guidance:g}, at {size} "
    "x {size} pixels: of each kind the first in the order of the evaluation, nothing picked by hand. ✓ and ✗: of "
    "scenes, what the judge says, a classifier trained apart; of single pictures seen in training, whether the nearest "
    "training picture is the one that was meant; of things never shown, whether the model finds its own prompt "
    "among ten, which is a tenth by chance. The figures stand in [painting](painting.md#what-it-paints).",
    "运行 `{run}` 所画，每步取最可能的编码，引导 {guidance:g}，{size} x {size} 像素：每一类按评测的"
    "顺序取最前面的，未经人挑选。✓ 与 ✗：场景由判定器（另行训练的分类器）判断；训练见过的"
    "单个图片，看最近的训练图片是不是所要的那一幅；从未出现的事物，看模型能否在十个提示中认出自己的，随机为十分之一。数字见[作画](painting.md#它画得怎样)。",
)
SHARE: Words = ("{:.1%} of this kind are right.", "这一类中 {:.1%} 是对的。")
FAILURES: Words = ("Further failures:", "更多失败的例子：")


def kind_of(painting: Painting) -> str:
    """What is new in it: a key of KINDS."""
    return str(painting["unseen"] if painting["split"] == "composed" else painting["split"])


def table(paintings: Sequence[Painting], folder: Path, run: Path) -> list[str]:
    """Rows of pictures with their prompts below; the pictures are copied beside the page."""
    lines = []
    for start in range(0, len(paintings), COLUMNS):
        row = paintings[start : start + COLUMNS]
        for each in row:
            shutil.copyfile(run / "evaluate" / each["picture"], folder / Path(each["picture"]).name)
        mark = {True: "✓ ", False: "✗ ", None: ""}
        images = [f"![{each['prompt']}](../images/gallery/{Path(each['picture']).name})" for each in row]
        prompts = [mark[each["right"]] + each["prompt"] for each in row]
        lines += [f"| {' | '.join(images)} |", "|" + " --- |" * len(row), f"| {' | '.join(prompts)} |", ""]
    return lines


def page(language: int, run: Path, docs: Path) -> str:
    """The page in one language: 0 English, 1 Chinese."""
    examples = json.loads((run / "evaluate" / "examples.json").read_text(encoding="utf-8"))["paintings"]
    scores = json.loads((run / "evaluate" / "scores.json").read_text(encoding="utf-8"))
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    size, guidance = config["corpus"]["image_size"], config["evaluate"]["guidance"]
    folder = docs / "images" / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [TITLE[language], "", INTRODUCTION[language].format(run=run.name, size=size, guidance=guidance), ""]
    for kind, (key, title) in KINDS.items():
        found = [each for each in examples if kind_of(each) == kind]
        if not found:
            continue
        lines += [f"## {title[language]}", ""]
        if key in scores:
            lines += [SHARE[language].format(scores[key]), ""]
        lines += table(found[:FIRST], folder, run)
        wrong = [each for each in found[FIRST:] if each["right"] is False][:WRONG]
        if wrong:
            lines += [FAILURES[language], "", *table(wrong, folder, run)]
    return "\n".join(lines)


def main(run: Path, docs: Path) -> None:
    """Both pages."""
    for language, name in enumerate(("en", "zh")):
        text = page(language, run, docs)
        (docs / name).mkdir(parents=True, exist_ok=True)
        (docs / name / "gallery.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    command.run(main, __doc__, 2)
