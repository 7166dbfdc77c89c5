"""Rebuilds the table of rhymes and tones out of the Unicode character database.

    apt-get download unicode-data=15.0.0-1 && dpkg -x unicode-data_15.0.0-1_all.deb DIR
    bunzip2 DIR/usr/share/unicode/Unihan_Readings.txt.bz2
    python -m m6.tasks.metrics.verse.build DIR/usr/share/unicode/Unihan_Readings.txt

In: the field kTang of Unihan, how some 3,800 characters were read in the eighth century (Hugh M. Stimson, T'ang Poetic
Vocabulary). A rising tone has a caron, a departing one a grave accent, an entering one ends in p, t or k, the rest is
level. Out: `rhymes.txt`, a line for each rhyme and tone: `rhyme tone characters`, in simplified and traditional script.

Which finals rhyme follows the 106 rhymes of the Pingshui table, of which each is named by its level one: finals of
different rhymes in the dictionaries of that time were used as one by poets (同用).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

from m6.corpus.text.normalise import simplified
from m6.run import write_atomic

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
    order = list(FINALS)
    rows = sorted(found.items(), key=lambda row: (order.index(row[0][0]), row[0][1]))
    return "".join(f"{rhyme} {tone} {''.join(sorted(characters))}\n" for (rhyme, tone), characters in rows)


def main(path: str) -> None:
    """Write the table."""
    write_atomic(HERE / "rhymes.txt", table(Path(path).read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main(*sys.argv[1:])
