"""The same things in other hands: emoji as several designers have drawn them, out of packages of Iconify.

Words, categories and concepts are those of the bundled emoji, as of OpenMoji. A concept that is held out is held out in
every style. Of some others one style is held out, which a hash of the name chooses: an unseen picture of a seen thing.
`unseen` among the attributes tells the two apart. EmojiOne has drawn much alike in its two versions, so that what is
held out in the second is left out of the first.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from m6.corpus.drop import Drop
from m6.corpus.starter import emoji_rows, english_names
from m6.corpus.starter.packages import Entry
from m6.corpus.starter.packages.archive import Archive, PackageError
from m6.corpus.starter.packages.drawings import code_of, emoji_categories, render, rows_by_code, what_is_it, words_of

HANDS = {"twemoji": 0, "fluent-emoji-flat": 1, "noto-v1": 2, "emojione": 3, "emojione-v1": 3, "fxemoji": 4}
"""The designer of each set, by its name in the package."""
LATER = {"emojione-v1": "emojione"}
"""Sets whose designer has a later one."""
HELDOUT_SHARE = 0.4
"""Of the concepts that are not held out: those of which one designer's picture is, if there is one."""
NUM_HANDS = len(set(HANDS.values()))


def style(archive: Archive, name: str) -> Iterator[Entry | Drop]:
    """A set of one designer. PackageError if its file is not one of Iconify's."""
    try:
        icons = json.loads(archive.read(name))
        bodies, width, height = icons["icons"], icons.get("width", 16), icons.get("height", 16)
        parents = {alias: told["parent"] for alias, told in icons.get("aliases", {}).items()}
        own = str(icons["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise PackageError(f"{name}: {error}") from None
    if own not in HANDS:
        raise PackageError(f"{name}: {own} is no known set")
    for emoji, key in _keys(archive, {**parents, **{each: each for each in bodies}}).items():
        row, icon = emoji, bodies.get(key)
        if icon is None:
            continue
        size = icon.get("width", width), icon.get("height", height)
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]} {size[1]}">{icon["body"]}</svg>'
        yield from _entry(own, rows_by_name()[row], svg, archive.drawn)


def _entry(own: str, row: dict[str, Any], svg: str, side: int) -> Iterator[Entry | Drop]:
    unseen = "concept" if row["split"] == "heldout" else "picture" if _held_out(row["group"], HANDS[own]) else ""
    if unseen == "picture" and own in LATER:
        return
    try:
        image = render(svg, side)
    except ValueError as error:
        yield Drop("not drawable", f"{own} {row['name']}", str(error)[:80])
        return
    yield Entry(
        words_of(row["name"], row["keywords"]),
        row["name"],
        row["group"],
        "heldout" if unseen else "train",
        (image,),
        tuple(row["keywords"]),
        what_is_it(row["name"], row["category"], emoji_categories()),
        (
            ("emoji", row["emoji"]),
            ("category", row["category"]),
            ("style", own),
            *((("unseen", unseen),) if unseen else ()),
        ),
    )


def _keys(archive: Archive, names: dict[str, str]) -> dict[str, str]:
    """The name of an emoji to the key of its icon: by code points where the package tells them, else by the English
    name, with or without hyphens."""
    found = {}
    for points, key in _characters(archive).items():
        row = rows_by_code().get(code_of(points.upper().split("-")))
        if row is not None:
            found[row["name"]] = names.get(key, key)
    closed = {name.replace("-", ""): key for name, key in names.items()}
    for row in emoji_rows():
        english = english_names()[row["emoji"]]
        if row["name"] not in found and (other := names.get(english) or closed.get(english.replace("-", ""))):
            found[row["name"]] = other
    return found


def _characters(archive: Archive) -> dict[str, str]:
    if "chars.json" not in archive.matching("chars.json"):
        return {}
    characters: dict[str, str] = json.loads(archive.read("chars.json"))
    return characters


@functools.cache
def rows_by_name() -> dict[str, dict[str, Any]]:
    """The bundled emoji by their names, of which no two are alike."""
    return {row["name"]: row for row in emoji_rows()}


def _held_out(group: str, hand: int) -> bool:
    """Whether this designer's picture of a concept is the one that is held out."""
    drawn = int.from_bytes(hashlib.sha256(f"unseen picture {group}".encode()).digest()[:8])
    return drawn % 1000 < 1000 * HELDOUT_SHARE and drawn // 1000 % NUM_HANDS == hand
