"""Rhymes and tones, on poems that everyone knows and on what their scholars say of them."""

from __future__ import annotations

import random

import pytest

from m6.corpus.starter import poem_rows
from m6.tasks.metrics.verse import build, readings, rhymes, tonal_checks
from m6.tasks.poems import lines_of

STORK = lines_of("白日依山尽，黄河入海流。欲穷千里目，更上一层楼。")
RIVER = lines_of("千山鸟飞绝，万径人踪灭。孤舟蓑笠翁，独钓寒江雪。")  # an old poem: its rhyme is oblique

HOME = lines_of("床前看月光，疑是地上霜。举头望山月，低头思故乡。")  # 李白, 静夜思: 霜 and 乡, of the rhyme 阳


def regulated(count: int) -> list[list[str]]:
    rows = [row for row in poem_rows() if row["form"] in ("五言绝句", "七言绝句", "五言律诗", "七言律诗")]
    return [lines_of("".join(row["couplets"])) for row in rows[:count]]


def test_readings_by_hand() -> None:
    assert readings()["楼"] == readings()["樓"] == {("尤", "level")}
    assert readings()["绝"] == {("先", "entering")}
    assert {each.tone for each in readings()["看"]} == {"level", "departing"}
    assert {name: {(own.rhyme, own.tone) for own in readings()[name]} for name in "乡鄉郎哉融"} == {
        "乡": {("阳", "level")},
        "鄉": {("阳", "level")},
        "郎": {("阳", "level")},
        "哉": {("灰", "level")},
        "融": {("东", "level")},
    }
    assert "的" not in readings() or all(each.tone == "entering" for each in readings()["的"])


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (STORK, True),
        (RIVER, True),  # 灭 and 雪
        ([*STORK[:3], "更上一层山"], False),
        ([*STORK[:3], "更上一层哒"], None),  # of the ends only one is known
        (["黄河入海流", "白日依山尽"], None),
        ([], None),
        (HOME, True),
        ([*HOME[:3], "低头思故人"], False),
    ],
)
def test_rhymes(lines: list[str], expected: bool | None) -> None:
    assert rhymes(lines) is expected


def test_tones_by_hand() -> None:
    """仄仄平平仄 平平仄仄平 仄平平仄仄 仄仄仄平平: four rules within lines, three between, three of ends."""
    assert tonal_checks(STORK) == (10, 10)
    broken = ["白日依山流", *STORK[1:]]  # the first line may end as it likes
    assert tonal_checks(broken) == (10, 10)
    assert tonal_checks([STORK[0], STORK[1], "欲穷千里流", STORK[3]]) == (9, 10)
    assert tonal_checks([STORK[1], *STORK[1:]]) == (9, 10)  # no opposition of the second characters
    assert tonal_checks(["哒哒哒哒哒"] * 4) == (0, 0)


def test_poets_keep_the_rules_and_chance_does_not() -> None:
    poems = regulated(300)
    letters = [letter for lines in poems for line in lines for letter in line]
    draw = random.Random(0)
    chance = [["".join(draw.choice(letters) for _ in line) for line in lines] for lines in poems]

    def rates(of: list[list[str]]) -> tuple[float, float]:
        rhymed = [found for lines in of if (found := rhymes(lines)) is not None]
        checks = [tonal_checks(lines) for lines in of]
        return sum(rhymed) / len(rhymed), sum(kept for kept, _ in checks) / sum(told for _, told in checks)

    (rhymed, tonal), (by_chance, tonal_by_chance) = rates(poems), rates(chance)
    assert rhymed > 0.9
    assert tonal > 0.9
    assert by_chance < 0.1
    assert 0.45 < tonal_by_chance < 0.65


def test_the_table_is_extended_by_rows_of_the_guangyun() -> None:
    """What is known stays as it is, and what is rare out; entering tones too."""
    rows = [("鄉", "曉開三陽平"), ("樓", "來侯去"), ("菄", "端一東平"), ("的", "端開四青入"), ("融", "以三東平")]
    table = build.extended("尤 level 楼樓\n", [{"字頭": one, "音韻地位": other} for one, other in rows])
    assert table == "东 level 融\n阳 level 乡鄉\n青 entering 的\n尤 level 楼樓\n"


def test_the_table_is_built_from_lines_of_unihan() -> None:
    lines = [
        "# kTang",
        "U+6A13\tkMandarin\tlóu",
        "U+6A13\tkTang\t*lou",
        "U+7D55\tkTang\t*dziuɛt",
        "U+770B\tkTang\t*kɑn kɑ̀n",
    ]
    assert build.table(lines) == "寒 departing 看\n寒 level 看\n先 entering 絕绝\n尤 level 楼樓\n"
