"""HTML elements as functions: what is not markup already is escaped, so no text of a corpus can break the page."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

_VOID = {"img", "input", "meta", "br", "hr"}


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content: TypeAlias = "str | Iterable[Content] | None"


def markup(content: Content) -> Html:
    """Content as markup: plain text is escaped, sequences are joined, None is nothing."""
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(html.escape(content))
    return Html("".join(markup(part) for part in content))


def element(name: str, /, *content: Content, **attributes: str | bool | None) -> Html:
    """One element. In names of attributes `class_` is class and `a_b` is a-b; True has no value, None is left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{markup(content)}</{name}>")


def both(english: Content, chinese: Content) -> Html:
    """The same in both languages of the page; its switch shows one of them."""
    parts = (("en", "en", english), ("zh", "zh-Hans", chinese))
    return markup(element("span", text, class_=name, lang=lang) for name, lang, text in parts)


def chinese(text: Content, name: str = "span", **attributes: str | None) -> Html:
    """Chinese that is shown in either language: what went into the model, or came out of it."""
    return element(name, text, lang="zh-Hans", **attributes)


def note(english: Content, chinese: Content) -> Html:
    """A short remark, also in place of something that is missing."""
    return element("p", both(english, chinese), class_="note")


def table(caption: Content, head: list[Content], rows: list[list[Content]], **attributes: str) -> Html:
    """A table whose first column names its rows; it scrolls by itself where the page is narrow."""
    heads = [element("th", cell, scope="col") for cell in head]
    lines = [[element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])] for row in rows]
    whole = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", heads)),
        element("tbody", (element("tr", line) for line in lines)),
        **attributes,
    )
    return element("div", whole, class_="scroll", tabindex="0", role="group")


def section(name: str, title: Html, lead: Content, *content: Content) -> Html:
    """A section of the page: its heading in the margin, a sentence that says what is to be seen, and the content."""
    heading = element("div", element("h2", title, id=f"{name}-title"), class_="margin")
    body = element("div", element("div", lead, class_="lead"), content, class_="body")
    return element("section", heading, body, id=name, aria_labelledby=f"{name}-title")
