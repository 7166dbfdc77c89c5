"""What the model made, beside what was asked for: pictures, captions, answers, matches, poems, and the failures."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from m6.train.report.elements import Content, Html, both, chinese, element, note, section
from m6.train.report.material import Material

Example = dict[str, Any]
CHARACTERS = 9  # in a column of a poem, see style.css
MOST = 12  # examples shown of each kind and group, to keep the page short and at a few megabytes

SYNTHETIC = both("real pictures, synthetic layout", "真实图片，合成布局")
MEMORY, GENERALISATION = both("memory", "记忆"), both("generalisation", "泛化")
GROUPS: dict[str, tuple[Html, tuple[Html, ...]]] = {
    "seen": (both("Seen in training", "训练时见过的"), (MEMORY,)),
    "seen scenes": (both("Scenes seen in training", "训练时见过的场景"), (MEMORY, SYNTHETIC)),
    "heldout": (both("Things it never saw", "从未见过的事物"), (GENERALISATION,)),
    "pair": (both("Unseen pairs of seen things", "未见过的搭配"), (GENERALISATION, SYNTHETIC)),
    "colour": (both("Unseen colours of seen things", "未见过的颜色"), (GENERALISATION, SYNTHETIC)),
    "count": (both("Unseen numbers of seen things", "未见过的数目"), (GENERALISATION, SYNTHETIC)),
    "composed": (both("Unseen combinations of seen things", "未见过的组合"), (GENERALISATION, SYNTHETIC)),
    "filled": (both("Unseen pairs, one half painted anew", "未见过的搭配，补画一半"), (GENERALISATION, SYNTHETIC)),
}


def picture(material: Material, name: str | None, alt: str) -> Html:
    """A picture of the examples, or a frame that says it is missing."""
    uri = material.picture(name) if name else None
    if uri is None:
        return element("span", both("no picture", "无图"), class_="missing")
    return element("img", src=uri, alt=alt, loading="lazy")


def mark(right: bool | None) -> Html | None:
    """Right or wrong, as a sign and a word; nothing where nobody judged."""
    if right is None:
        return None
    path = element("path", d="M2 6.5 5 9.5 10 3" if right else "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5")
    sign = element("svg", path, viewBox="0 0 12 12", aria_hidden="true")
    word = both("right", "对") if right else both("wrong", "误")
    return element("span", sign, word, class_="mark right" if right else "mark wrong")


def gallery(material: Material, paintings: Sequence[Example]) -> Html:
    """Paintings, large, with their prompts."""
    figures = [
        element(
            "figure",
            picture(material, example["picture"], f"模型所画：{example['prompt']}"),
            element("figcaption", chinese(example["prompt"]), " ", mark(example["right"])),
        )
        for example in paintings
    ]
    return element("div", figures, class_="gallery")


def reconstructions(material: Material) -> Html:
    """Originals beside their reconstructions."""
    examples = material.of("reconstructions", "heldout") or material.of("reconstructions")
    if not examples:
        return note("No reconstructions are here.", "没有还原的例子。")
    return element(
        "div",
        (
            element(
                "figure",
                _two(
                    (picture(material, example["picture"], "原图"), both("original", "原图")),
                    (picture(material, example["restored"], "由图像码还原的图"), both("from codes", "还原")),
                ),
                element("figcaption", f"{example['psnr']:.1f} dB"),
            )
            for example in examples[:MOST]
        ),
        class_="grid wide",
    )


def _two(*pairs: tuple[Html, Html]) -> Html:
    return element(
        "div", (element("div", image, element("small", label)) for image, label in pairs), class_="two"
    )  # fmt: skip


def group(example: Example) -> str:
    """The group of an example, by what is new in it: in held-out scenes a combination."""
    if example["split"] != "composed" and example.get("source") != "scenes":
        return str(example["split"])
    if example["split"] == "seen":
        return "seen scenes"
    unseen = str(example.get("unseen"))
    return unseen if unseen in GROUPS else "composed"


def spread(examples: Sequence[Example]) -> list[Example]:
    """The same examples in another order: the first of every group, then the second of every group, ..."""
    counts: Counter[str] = Counter()
    ranks = []
    for example in examples:
        ranks.append(counts[group(example)])
        counts[group(example)] += 1
    return [examples[index] for index in sorted(range(len(examples)), key=lambda index: ranks[index])]


def _groups(examples: Sequence[Example], show: Callable[[Example], Html], style: str) -> list[Html]:
    """One block a group: its name, how many of the shown are right, and the examples."""
    blocks = []
    for name, (title, kinds) in GROUPS.items():
        chosen = [example for example in examples if group(example) == name][:MOST]
        if not chosen:
            continue
        judged = [example["right"] for example in chosen if example["right"] is not None]
        right = both(f"{sum(judged)} of these {len(judged)} right", f"此处 {len(judged)} 例，对 {sum(judged)} 例")
        blocks.append(element("h3", title, _tags(kinds), element("small", right) if judged else None))
        blocks.append(element("div", (show(example) for example in chosen), class_=style))
    return blocks or [note("No examples of this are here.", "没有这类例子。")]


def _tags(words: Sequence[Html]) -> list[Html]:
    return [element("span", word, class_="tag") for word in words]


def paintings(material: Material) -> Html:
    """Paintings beside what was meant."""
    return section(
        "paintings",
        both("Paintings", "作画"),
        both(
            "What the model painted, the picture that was meant, and the prompt. Right means: for a seen prompt, the"
            " nearest training picture is the one that was meant; for a thing it never saw, the model tells its own"
            " painting among ten prompts; for a combination, a classifier that was trained apart finds every thing in"
            " its place.",
            "左为模型所画，右为本意之图，下为所给的话。何谓对：见过的，最近的训练图正是本意之图；"
            "未见过的事物，模型能在十句话中认出自己所画；组合，则由另行训练的分类器判定样样各在其位。",
        ),
        _groups(material.of("paintings"), lambda example: _painting(material, example), "grid wide"),
    )


def _painting(material: Material, example: Example) -> Html:
    painted = (picture(material, example["picture"], f"模型所画：{example['prompt']}"), both("painted", "所画"))
    meant = (picture(material, example["reference"], f"本意之图：{example['prompt']}"), both("meant", "本意"))
    return element(
        "figure",
        _two(painted, meant) if example["reference"] else _two(painted),
        element("figcaption", chinese(example["prompt"]), " ", mark(example["right"])),
    )


def captions(material: Material) -> Html:
    """Pictures with what was written about them, and the truth."""
    return section(
        "captions",
        both("What it sees", "看图描述"),
        both(
            "The picture goes in, the words come out; the true caption stands below. Right means the exact name, which"
            " is all before the keywords; of a scene, the whole sentence.",
            "图入文出，下方为真实描述。何谓对：名称（关键词之前）一字不差；场景则整句一字不差。",
        ),
        _groups(material.of("captions"), lambda example: _caption(material, example), "cards"),
    )


def _caption(material: Material, example: Example) -> Html:
    lines = [_written(example["written"]), _truth(example["true"]), mark(example["right"])]
    return _card(material, example, lines)


def questions(material: Material) -> Html:
    """Questions about pictures."""
    return section(
        "questions",
        both("Questions and answers", "看图问答"),
        both(
            "Answers are exact by construction: names, places, numbers, colours.",
            "答案由构造而来：名称、位置、数目、颜色。",
        ),
        _groups(material.of("questions"), lambda example: _question(material, example), "cards"),
    )


def _question(material: Material, example: Example) -> Html:
    asked = chinese(example["question"], "p", class_="asked")
    return _card(
        material, example, [asked, _written(example["written"]), _truth(example["true"]), mark(example["right"])]
    )


def matching(material: Material) -> Html:
    """Which of two texts fits a picture."""
    examples = [{**example, "right": example["chosen"] == example["true"]} for example in material.of("matching")]
    return section(
        "matching",
        both("Which text fits", "图文相配"),
        both(
            "One text is true, the other does not fit. The model takes the one that the picture makes likelier.",
            "两句之中，一句为真，另一句不合。模型取图画使之更可能的那一句。",
        ),
        _groups(examples, lambda example: _match(material, example), "cards"),
    )


def _match(material: Material, example: Example) -> Html:
    items = []
    for index, text in enumerate(example["texts"]):
        chosen = index == example["chosen"]
        tag = element("span", both("chosen", "所选"), class_="tag") if chosen else None
        items.append(element("li", chinese(text), tag, class_="chosen" if chosen else None))
    return _card(material, example, [element("ul", items, class_="choices"), mark(example["right"])])


def _card(material: Material, example: Example, lines: Iterable[Content]) -> Html:
    alt = f"图：{example.get('true') if isinstance(example.get('true'), str) else '看图选文'}"
    return element(
        "div", picture(material, example["picture"], alt), element("div", lines, class_="words"), class_="card"
    )


def _written(text: str) -> Html:
    return chinese(text or "……", "p", class_="written")


def _truth(text: str) -> Html:
    return element("p", both("true ", "真实 "), chinese(text), class_="truth")


def poems(material: Material) -> Html:
    """Poems in columns, from right to left, beside those that people wrote under the title."""
    examples = material.of("poems")[:MOST]
    blocks: list[Html] = [_poems(example) for example in examples]
    return section(
        "poems",
        both("Poems", "作诗"),
        both(
            "Title and form were given; the form of the lines is kept by the decoder, the words are the model's (模型,"
            " in red). Read from right to left. Beside each, in grey, what the poet wrote.",
            "给出题与体；句式由解码保证，字句出自模型（朱栏）。自右向左读。旁边淡墨者，为诗人原作。",
        ),
        element("div", blocks, class_="poems") if blocks else note("No poems are here.", "没有诗。"),
    )


def _poems(example: Example) -> Html:
    title, kinds = GROUPS[example["split"]]
    if example["split"] == "heldout":  # poems are split by author
        title = both("A poet it never read", "从未读过的诗人")
    tag = element("figcaption", title, _tags(kinds))
    written = _poem(example["title"], "模型", example["written"], "folio")
    true = _poem(example["title"], example["author"], example["true"], "folio true")
    return element("figure", element("div", written, true, class_="pair"), tag)


def _poem(title: str, author: str, text: str, style: str) -> Html:
    """A poem as a leaf of an old book: a verse a column, from right to left.

    The number of columns is counted here: browsers are unsure how wide upright text is.
    """
    lines = [line for line in re.split(r"(?<=[，。！？；])|\n", text) if line.strip()]
    columns = math.ceil((1.5 * len(title) + 0.9 * len(author) + 1.2) / (1.5 * CHARACTERS))
    columns += sum(math.ceil(len(line) / CHARACTERS) for line in lines)
    body = element("p", ([chinese(line), element("br")] for line in lines))
    head = element("p", chinese(title, "b"), chinese(author, "small"), class_="poem-title")
    leaf = element("div", head, body, class_="columns", style=f"--columns:{columns}")
    return element("div", leaf, class_=style, tabindex="0", role="group")


def failures(material: Material) -> Html:
    """What went wrong on what it had not seen."""
    new = ("heldout", "composed")
    wrong = {
        kind: [example for example in material.of(kind, *new) if example["right"] is False]
        for kind in ("paintings", "captions", "questions")
    }
    blocks: list[Content] = [
        element(
            "div", (_painting(material, example) for example in spread(wrong["paintings"])[:9]), class_="grid wide"
        ),
        element(
            "div",
            [_caption(material, example) for example in spread(wrong["captions"])[:8]],
            [_question(material, example) for example in spread(wrong["questions"])[:4]],
            class_="cards",
        ),
    ]
    return section(
        "failures",
        both("Where it fails", "败笔"),
        both(
            "Failures of generalisation: of every group the first ones among the examples kept, not chosen by looks.",
            "泛化的败笔：留存的例子中，各组依次序取最先的几例，不加挑选。",
        ),
        blocks if any(wrong.values()) else note("Among the examples kept, there is none.", "留存的例子中没有。"),
    )
