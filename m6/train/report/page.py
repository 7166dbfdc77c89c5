"""The page: its head, the switch of languages, the list of sections, and the sections in their order."""

from __future__ import annotations

from importlib.resources import files

from m6.train.report import examples, overview, scores
from m6.train.report.elements import Html, both, element, markup
from m6.train.report.material import Material

SECTIONS = (
    overview.first_impressions,
    overview.way_of_data,
    overview.corpus,
    overview.image_tokenizer,
    overview.pretraining,
    examples.paintings,
    examples.captions,
    examples.questions,
    examples.matching,
    examples.poems,
    scores.scores,
    examples.failures,
    scores.costs,
    scores.go_on,
    scores.settings,
)
# The page speaks the reader's language from the start; without scripts it begins in English.
_LANGUAGE = 'if ((navigator.language || "").startsWith("zh")) document.getElementById("zh").checked = true;'


def page(material: Material) -> str:
    """The whole page as one HTML document without any reference to the outside."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"Open M6 · {material.folder.name}"),
        element("style", Html(files(__package__).joinpath("style.css").read_text(encoding="utf-8"))),
    )
    body = element(
        "body",
        element("a", both("To the content", "直达正文"), href="#gallery", class_="skip"),
        _switch(),
        element("main", overview.headline(material), (make(material) for make in SECTIONS)),
        element(
            "footer",
            both(
                "One file that loads nothing. Bundled pictures: Noto Emoji, Apache-2.0; words: Unicode CLDR.",
                "一页一文件，无一物取自网络。自带图片：Noto Emoji，Apache-2.0；词语：Unicode CLDR。",
            ),
        ),
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _switch() -> Html:
    """Two radio buttons that the style sheet listens to, so the switch needs no script and takes arrow keys."""
    choices = [("en", "English"), ("zh", "中文")]
    buttons = [
        [
            element("input", type="radio", name="language", id=name, checked=name == "en", autocomplete="off"),
            element("label", label, for_=name),
        ]
        for name, label in choices
    ]
    fieldset = element("fieldset", element("legend", "Language · 语言"), buttons, class_="language")
    return markup([fieldset, element("script", Html(_LANGUAGE))])
