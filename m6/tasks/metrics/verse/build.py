"""Rebuilds the table of rhymes and tones out of the Unicode character database and the Guangyun.

    apt-get download unicode-data=15.0.0-1 && dpkg -x unicode-data_15.0.0-1_all.deb DIR
    bunzip2 DIR/usr/share/unicode/Unihan_Readings.txt.bz2
    python -m m6.tasks.metrics.verse.build DIR/usr/share/unicode/Unihan_Readings.txt DIR/廣韻.csv

In: the field kTang of Unihan, how some 3,800 characters were read in the eighth century (Hugh M. Stimson, T'ang Poetic
Vocabulary). A rising tone has a caron, a departing one a grave accent, an entering one ends in p, t or k, the rest is
level. Out: `rhymes.txt`, a line for each rhyme and tone: `rhyme tone characters`, in simplified and traditional script.

What that vocabulary lacks, as 乡 郎 哉 融, comes from the Guangyun (1008), the rhyme dictionary from whose 206 rhymes
the Pingshui's are merged, as far as it is among the 6,763 characters of GB 2312; in the table of
https://github.com/nk2028/tshet-uinh-data (CC0), 韻書/廣韻.csv, a row a reading.

Which finals rhyme follows the 106 rhymes of the Pingshui table, of which each is named by its level one: finals of
different rhymes in the dictionaries of that time were used as one by poets (同用).
"""

from __future__ import annotations

import csv
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from m6.corpus.text.normalise import simplified
from m6.run import write_atomic
from m6.tasks.metrics.verse import LEVEL

HERE = Path(__file__).parent
FINALS = {
    "东": "ung iung", "冬": "ong iong", "江": "ang iang uang",
    "支": "iɛ yɛ iuɛ yuɛ uiɛ yiɛ i yi ui yui iə", "微": "iəi iuəi", "鱼": "iu u", "虞": "io o",
    "齐": "ei uei iei iɛi iuɛi yɛi", "佳": "ɛi uɛi æi uæi ai uai", "灰": "əi uəi", "泰": "ɑi uɑi", "废": "iæi",
    "真": "in yin uin iuin yuin", "文": "iuən iən iun yun", "元": "iæn iuæn uən ən", "寒": "ɑn uɑn",
    "删": "an uan ɛn uɛn", "先": "en uen iɛn yɛn iuɛn yuɛn", "萧": "eu iɛu yɛu",
    "肴": "au", "豪": "ɑu", "歌": "ɑ uɑ iɑ", "麻": "a ia ua",
    "阳": "iɑng ɑng uɑng iuɑng", "庚": "æng iæng uæng iuæng ɛng uɛng iɛng iuɛng", "青": "eng ueng ieng",
    "蒸": "iəng əng uəng", "尤": "iou ou iəu əu", "侵": "im yim", "覃": "om ɑm", "盐": "iɛm yɛm em iæm iuæm i(u)æm",
    "咸": "am æm ɛm",
}  # fmt: skip
"""Finals, medial and all, of each rhyme of the level, rising and departing tones."""
MERGED = {
    "东": "東", "冬": "冬鍾", "江": "江", "支": "支脂之", "微": "微", "鱼": "魚", "虞": "虞模", "齐": "齊祭",
    "佳": "佳皆夬", "灰": "灰咍", "泰": "泰", "废": "廢", "真": "真諄臻", "文": "文殷", "元": "元魂痕", "寒": "寒桓",
    "删": "刪山", "先": "先仙", "萧": "蕭宵", "肴": "肴", "豪": "豪", "歌": "歌戈", "麻": "麻", "阳": "陽唐",
    "庚": "庚耕清", "青": "青", "蒸": "蒸登", "尤": "尤侯幽", "侵": "侵", "覃": "覃談", "盐": "鹽添嚴", "咸": "咸銜凡",
}  # fmt: skip
"""Rhymes of the Guangyun, named by their level ones, that the Pingshui table takes as one."""
GUANGYUN_TONES = {"平": LEVEL, "上": "rising", "去": "departing", "入": "entering"}
STOPS = {"ng": "k", "n": "t", "m": "p"}
"""What a final of the entering tone ends in, by the nasal it answers to."""
MENDED = {"河": ["*hɑ"], "羣": ["*ghiuən"], "群": ["*ghiuən"]}
"""Readings of which the file has another vowel than all that poets rhyme with these."""
INITIAL = re.compile(r"^[bcdghjklmnpqrstxz]*")
TONES = {"\N{COMBINING CARON}": "rising", "\N{COMBINING GRAVE ACCENT}": "departing"}


def read(reading: str, rhymes: dict[str, str]) -> tuple[str, str] | None:
    """Rhyme and tone of a reading such as `*djhiǒng`; None if its final is none that is known."""
    plain = unicodedata.normalize("NFD", reading.lstrip("*"))
    tone = next((name for mark, name in TONES.items() if mark in plain), "level")
    plain = "".join(letter for letter in plain if letter not in TONES)
    final = INITIAL.sub("", plain)
    stopped = final[-1:] in STOPS.values()
    return (rhymes[final], "entering" if stopped else tone) if final in rhymes else None


def table(lines: list[str]) -> str:
    """The table of these lines of Unihan."""
    rhymes = {final: rhyme for rhyme, finals in FINALS.items() for final in finals.split()}
    for nasal, stop in STOPS.items():
        for final in [final for final in rhymes if final.endswith(nasal)]:
            rhymes[final.removesuffix(nasal) + stop] = rhymes[final]
    found: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for line in lines:
        if "\tkTang\t" in line:
            code, _, readings = line.split("\t")
            character = chr(int(code.removeprefix("U+"), 16))
            for reading in MENDED.get(character, readings.split()):
                place = read(reading, rhymes)
                if place:
                    found[place] |= dict.fromkeys((character, simplified(character)))
    return _rows(found)


def extended(table: str, rows: Iterable[Mapping[str, str]]) -> str:
    """The same table with the readings that rows of the Guangyun (字頭, and 音韻地位 as "見開三陽平") have of what it
    lacks."""
    rhymes = {old: rhyme for rhyme, several in MERGED.items() for old in several}
    found: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for line in table.splitlines():
        rhyme, tone, characters = line.split()
        found[rhyme, tone] = dict.fromkeys(characters)
    known = {character for characters in found.values() for character in characters}
    for row in rows:
        character, sound = row["字頭"], row["音韻地位"]
        short = simplified(character)
        if len(character) == 1 and sound[-2:-1] in rhymes and _is_common(short):
            place = rhymes[sound[-2]], GUANGYUN_TONES[sound[-1]]
            found[place] |= dict.fromkeys({character, short} - known)
    return _rows(found)


def _is_common(character: str) -> bool:
    try:
        return len(character.encode("gb2312")) == 2
    except UnicodeEncodeError:
        return False


def _rows(found: Mapping[tuple[str, str], Iterable[str]]) -> str:
    order = list(FINALS)
    rows = sorted(found.items(), key=lambda row: (order.index(row[0][0]), row[0][1]))
    return "".join(
        f"{rhyme} {tone} {''.join(sorted(characters))}\n" for (rhyme, tone), characters in rows if characters
    )


def main(unihan: str, guangyun: str) -> None:
    """Write the table."""
    own = table(Path(unihan).read_text(encoding="utf-8").splitlines())
    with open(guangyun, encoding="utf-8", newline="") as file:
        write_atomic(HERE / "rhymes.txt", extended(own, csv.DictReader(file)))


if __name__ == "__main__":
    main(*sys.argv[1:])
