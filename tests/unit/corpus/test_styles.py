"""The same things in other hands: found by code points or names, one picture of some concepts held out."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest

from m6.corpus.starter import emoji_rows, english_names
from m6.corpus.starter.packages import COLLECTIONS, styles
from tests.unit.corpus.small_packages import png, read, tarball


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("resvg_py")
    module.svg_to_bytes = lambda svg_string, **_: png()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "resvg_py", module)


def write(folder: Path, collection: str, icons: dict[str, object], characters: dict[str, str] | None = None) -> None:
    """A package of Iconify's layout for a collection."""
    package = COLLECTIONS[collection].packages[0]
    files = {"icons.json": json.dumps(icons).encode()}
    if characters is not None:
        files["chars.json"] = json.dumps(characters).encode()
    folder.mkdir(exist_ok=True)
    tarball(folder, f"iconify-json-{package.name.split('/')[1]}-{package.version}.tgz", files)


BODY = {"body": "<path d='M0 0h9v9z'/>"}


def test_things_are_found_by_code_point_and_by_name(tmp_path: Path) -> None:
    icons = {"prefix": "twemoji", "icons": {"red-apple": BODY, "fire": BODY}, "width": 36, "height": 36}
    write(tmp_path, "twemoji", icons, {"1f34e": "red-apple"})
    documents, _ = read(tmp_path, "twemoji")
    assert {document["title"] for document in documents} <= {"红苹果", "火焰"}
    icons = {"prefix": "fxemoji", "icons": {"redapple": BODY}, "aliases": {"dogface": {"parent": "redapple"}}}
    write(tmp_path, "fxemoji", icons)
    titles = {document["title"] for document in read(tmp_path, "fxemoji")[0]}
    assert titles <= {"红苹果", "狗脸"}


def test_names_are_those_of_the_pictures() -> None:
    assert english_names()["🍎"] == "red-apple"
    assert english_names()["🪅"] == "pinata"
    assert len(english_names()) == len(emoji_rows())


def test_a_concept_is_held_out_in_all_hands_and_of_some_others_one_picture_is(tmp_path: Path) -> None:
    names = {english_names()[row["emoji"]]: row for row in emoji_rows()}
    icons = dict.fromkeys(names, BODY)
    found = {}
    for collection, prefix in {"twemoji": "twemoji", "noto_v1": "noto-v1", "emojione": "emojione",
                               "emojione_v1": "emojione-v1"}.items():  # fmt: skip
        write(tmp_path, collection, {"prefix": prefix, "icons": icons})
        found[collection] = {document["title"]: document for document in read(tmp_path, collection)[0]}
    for row in emoji_rows():
        of_row = {name: documents[row["name"]] for name, documents in found.items() if row["name"] in documents}
        unseen = {name: each["attributes"].get("unseen", "") for name, each in of_row.items()}
        if row["split"] == "heldout":
            assert set(unseen.values()) == {"concept"}
        else:
            assert sum(value == "picture" for value in unseen.values()) <= 1
            assert ("emojione_v1" not in of_row) == (unseen["emojione"] == "picture"), "they drew much alike"
        assert all(each["split"] == ("heldout" if unseen[name] else "train") for name, each in of_row.items())
    share = sum(each["attributes"].get("unseen") == "picture" for each in found["twemoji"].values()) / len(names)
    assert share == pytest.approx(0.9 * styles.HELDOUT_SHARE / styles.NUM_HANDS, abs=0.02)


def test_a_file_that_is_no_set_is_told(tmp_path: Path) -> None:
    write(tmp_path, "twemoji", {"prefix": "other", "icons": {}})
    documents, drops = read(tmp_path, "twemoji")
    assert documents == []
    assert "no known set" in str(drops[0])
