"""The bundled sample: it is what was packed, its splits never cross, and it can be made again byte for byte.

Making it again needs the packages: set M6_PACKAGES to a folder with the four tarballs that `m6/corpus/starter/build.py`
names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from PIL import Image

from m6.config import UserError
from m6.corpus import starter
from m6.corpus.starter import HERE, emoji_pictures, emoji_rows, poem_rows, read

MANIFEST = json.loads((HERE / "manifest.json").read_text())


def test_every_file_is_the_one_that_was_packed() -> None:
    for name, digest in MANIFEST.items():
        assert hashlib.sha256((HERE / name).read_bytes()).hexdigest() == digest, name
    assert sum((HERE / name).stat().st_size for name in MANIFEST) < 8_000_000


def test_licences_and_notice_are_there() -> None:
    notice = (HERE / "NOTICE").read_text()
    licences = sorted(path.name for path in (HERE / "licenses").iterdir())
    assert licences == ["Apache-2.0.txt", "MIT-chinese-poetry.txt", "MIT-emoji-datasource.txt", "Unicode-3.0.txt"]
    assert all(f"licenses/{name}" in notice and f"licenses/{name}" in MANIFEST for name in licences)


def test_counts() -> None:
    assert Counter(row["split"] for row in emoji_rows()) == {"train": 1701, "heldout": 191}
    assert Counter(row["split"] for row in poem_rows()) == {"train": 9500, "heldout": 500}
    assert len({row["name"] for row in emoji_rows()}) == 1892
    assert set(emoji_pictures()) == {row["file"] for row in emoji_rows()}


def test_pictures_are_all_different_and_64_pixels() -> None:
    assert len(set(emoji_pictures().values())) == len(emoji_pictures())
    assert {Image.open(io.BytesIO(data)).size for data in emoji_pictures().values()} == {(64, 64)}


def test_concepts_never_cross_the_split() -> None:
    sides: dict[str, set[str]] = defaultdict(set)
    for row in emoji_rows():
        sides[row["group"]].add(row["split"])
    assert all(len(found) == 1 for found in sides.values())


def test_variants_of_a_picture_never_cross_the_split() -> None:
    """Told by code points alone, apart from how the bundle groups them: woman and man to person, no gender or direction
    sign, no skin tone. And by pairs that a person sees at once."""
    sides: dict[str, set[str]] = defaultdict(set)
    by_name = {row["name"]: row["split"] for row in emoji_rows()}
    for row in emoji_rows():
        text = row["emoji"].replace("👨", "🧑").replace("👩", "🧑")
        sides["".join(c for c in text if c not in "♀♂➡\u200d\ufe0f" and not "🏻" <= c <= "🏿")].add(row["split"])
    assert [emoji for emoji, found in sides.items() if len(found) > 1] == []
    pairs = "老虎 老虎头,狗 狗脸,猫 黑猫,红苹果 青苹果,红心 蓝心,太阳 微笑的太阳,公交车 迎面驶来的公交车,农夫 农妇"
    pairs += ",跳舞的女人 跳舞的男人,向左箭头 向右箭头,猴头 猴子,鲸鱼 喷水的鲸,红色圆 蓝色圆,老爷爷 老奶奶,王子 公主"
    for pair in pairs.split(","):
        one, other = pair.split()
        assert by_name[one] == by_name[other], (one, other)


def test_authors_never_cross_the_split() -> None:
    sides: dict[str, set[str]] = defaultdict(set)
    for row in poem_rows():
        sides[row["author"]].add(row["split"])
    assert all(len(found) == 1 for found in sides.values())
    assert sum(found == {"heldout"} for found in sides.values()) > 100
    assert sides["佚名"] == {"train"}


def test_no_couplet_of_a_heldout_poem_stands_in_a_training_poem() -> None:
    couplets = {
        side: {c for row in poem_rows() if row["split"] == side for c in row["couplets"]}
        for side in ("train", "heldout")
    }
    assert couplets["train"].isdisjoint(couplets["heldout"])


def test_well_known_poems_are_there() -> None:
    known = {(row["author"], row["title"]) for row in poem_rows()}
    assert {
        ("孟浩然", "春晓"),
        ("王之涣", "登鹳雀楼"),
        ("李白", "静夜思"),
        ("杜甫", "春望"),
        ("李商隐", "夜雨寄北"),
    } <= known


def test_a_damaged_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_bytes((HERE / "manifest.json").read_bytes())
    (tmp_path / "NOTICE").write_bytes(b"something else")
    monkeypatch.setattr(starter, "HERE", tmp_path)
    with pytest.raises(UserError, match="NOTICE: this file of the package is damaged"):
        read("NOTICE")
    with pytest.raises(UserError, match=r"emoji.zip: this file of the package is missing"):
        read("emoji.zip")


@pytest.mark.skipif("M6_PACKAGES" not in os.environ, reason="needs the packages that the bundle is made of")
def test_the_bundle_can_be_made_again_byte_for_byte(tmp_path: Path) -> None:
    from m6.corpus.starter.build import build

    assert build(Path(os.environ["M6_PACKAGES"]), tmp_path) == MANIFEST
    for name in (*MANIFEST, "manifest.json"):
        assert (tmp_path / name).read_bytes() == (HERE / name).read_bytes(), name
