"""Text: every Document is put in its normal form, cleaned, and put to the rules that keep it or say why not.

`clean` normalises, cuts boilerplate off, asks the rules and masks personal data. A rule is a function of the Passage
and the thresholds that returns None to keep it, or the reason to drop it; a recipe names the rules it wants
(`TextRules.rules`), in the order in which they are asked. Length of titles and texts, share of Chinese and sensitive
words follow the paper, section 2.5 (recalled).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from m6.config import UserError, nearest
from m6.corpus.config import TextRules
from m6.corpus.document import Document, Image
from m6.corpus.text import boilerplate as page
from m6.corpus.text import normalise, safety
from m6.corpus.text.passage import DIGIT, HAN, HANGUL, KANA, SYMBOL, Passage
from m6.corpus.text.spans import replaced

FEWEST_FOR_SHARES = 20  # letters, marks and digits: below that a share says nothing
FEWEST_LINES = 4
_ELLIPSES = ("…", "...", "[更多]", "[详细]", "[全文]", "更多>", "更多>>")
_BULLET = re.compile(r"^[•·●■◆★►▪◇○◎※✓✔☆▶→➢*\-](?!-)", re.MULTILINE)
_BETWEEN_ITEMS = re.compile(r"[\s|｜/>»]+")
_SENTENCE_MARK = re.compile(r"[，。！？；：,!?;]")
# What common characters become when UTF-8 is read as GBK (，。的是不 and others): hardly ever written otherwise.
_LOST_CHINESE = re.compile("[銆锛紝傗傛傚棤鍏鍙鏃瀹濇屾屼笉鐨鈥殑婂箣鍒鏄嬬鍥鍗婃鍚]")
_LOST_CHINESE_SHARE = 0.04  # a quarter of what such a text has
_LOST_LATIN = re.compile("[ãäåæçèéï][\u0080-\u00bf\u0152-\u0178\u02c6\u02dc\u2013-\u203a€™]")  # read as Latin-1
_LOST = re.compile("\ufffd|锟斤拷|烫烫烫|屯屯屯")
_MAY_BE_LOST = re.compile("[\ufffd锟烫屯ãäåæçèéï" + _LOST_CHINESE.pattern[1:])  # most texts have none of these


def clean(document: Document, rules: TextRules) -> Document | str:
    """The Document with title and text as they go into the corpus, pictures at their places in them; or the reason
    why it is dropped."""
    title = normalise.normalise(document["title"], to_simplified=rules.to_simplified).replace("\n", " ")
    text, offsets = _normalised(document["text"], document["images"], rules)
    whole = text
    found = page.find(whole) if rules.cut_boilerplate else page.Found([])
    text, offsets = replaced(whole, found.spans, offsets)
    passage = Passage(title, text, whole, boilerplate=found.boilerplate, advertising=found.advertising)
    if reason := check(passage, rules):
        return reason
    if rules.personal_data != "keep":
        in_title, in_text = safety.personal_data(title), safety.personal_data(text)
        if rules.personal_data == "drop" and (in_title or in_text):
            return "personal data"
        title, (text, offsets) = replaced(title, in_title)[0], replaced(text, in_text, offsets)
    images = [Image(**{**image, "offset": offset}) for image, offset in zip(document["images"], offsets, strict=True)]
    return Document(**{**document, "title": title, "text": text, "images": images})


def check(passage: Passage, rules: TextRules) -> str | None:
    """The reason of the first rule that drops the passage, or None."""
    return next(filter(None, (RULES[name](passage, rules) for name in rules.rules)), None)


def rules_exist(names: Iterable[str]) -> None:
    """UserError for the first name that is no rule."""
    for name in names:
        if name not in RULES:
            raise UserError(f"corpus: no text rule {name!r}{nearest(name, RULES)}")


def _normalised(text: str, images: list[Image], rules: TextRules) -> tuple[str, list[int]]:
    """The normalised text and the offset of each picture in it, in the order of the pictures."""
    if not images:
        return normalise.normalise(text, to_simplified=rules.to_simplified), []
    order = sorted(range(len(images)), key=lambda number: images[number]["offset"])
    cuts = [min(max(images[number]["offset"], 0), len(text)) for number in order]
    parts = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    text, places = normalise.normalise_parts(parts, to_simplified=rules.to_simplified)
    return text, [place for _, place in sorted(zip(order, places, strict=True))]


def no_text(passage: Passage, rules: TextRules) -> str | None:
    """A Document says something. One that said nothing but boilerplate is the matter of other rules."""
    return None if passage.whole else "empty text"


def broken_characters(passage: Passage, rules: TextRules) -> str | None:
    """No characters that stand for lost ones, and no remains of a wrong decoding."""
    text = f"{passage.title}\n{passage.whole}"
    lost = _MAY_BE_LOST.search(text) is not None and (
        _LOST.search(text) is not None
        or len(_LOST_LATIN.findall(text)) > 3
        or len(_LOST_CHINESE.findall(text)) > max(2, _LOST_CHINESE_SHARE * len(text))
    )
    return "broken characters" if lost else None


def sensitive(passage: Passage, rules: TextRules) -> str | None:
    """Several sensitive words make spam; one or two may stand in a novel or in the news."""
    words = safety.sensitive_words(f"{passage.title}\n{passage.whole}", rules.sensitive_words)
    many = len(words) > rules.most_sensitive_hits or len(set(words)) > rules.most_sensitive_words
    return "sensitive words" if many else None


def advertising(passage: Passage, rules: TextRules) -> str | None:
    """Lines that sell something are cut off; a text that consisted of them says nothing else."""
    most = rules.largest_boilerplate_share * (len(passage.text) + passage.advertising)
    return "advertising" if passage.advertising > most else None


def boilerplate(passage: Passage, rules: TextRules) -> str | None:
    """Menus, rights and calls to follow are cut off; a page that consisted of them has no content."""
    cut = passage.boilerplate + passage.advertising
    return "boilerplate" if cut > rules.largest_boilerplate_share * (len(passage.text) + cut) else None


def short_title(passage: Passage, rules: TextRules) -> str | None:
    """Topics under 5 characters say little (paper, section 2.5)."""
    return "short title" if 0 < len(passage.title) < rules.shortest_title else None


def short_text(passage: Passage, rules: TextRules) -> str | None:
    """Contents under 15 characters say little (paper, section 2.5)."""
    return "short text" if len(passage.text) < rules.shortest_text else None


def long_text(passage: Passage, rules: TextRules) -> str | None:
    """Beyond any passage stand dumps and lists."""
    return "long text" if len(passage.text) > rules.longest_text else None


def other_language(passage: Passage, rules: TextRules) -> str | None:
    """Japanese and Korean are written with Chinese characters, too, but these go over into kana or hangul again and
    again (発表した, 大韓民國은); a Chinese text that quotes some words keeps them apart."""
    for kind, language in ((KANA, "Japanese"), (HANGUL, "Korean")):
        han, foreign = passage.counts[HAN], passage.counts[kind]
        if foreign > rules.largest_foreign_share * (han + foreign):
            mixed = passage.follows(HAN, kind) > 0.05 * han
            return language if mixed or foreign > han else None
    return None


def too_many_digits(passage: Passage, rules: TextRules) -> str | None:
    """A text of numbers is a table or a list of telephones, not a passage."""
    digits = passage.counts[DIGIT]
    numbers = digits > rules.largest_digit_share * passage.num_letters and passage.num_letters >= FEWEST_FOR_SHARES
    return "too many digits" if numbers else None


def not_chinese(passage: Passage, rules: TextRules) -> str | None:
    """Chinese characters make up a share of all letters and digits."""
    least = rules.smallest_chinese_share
    share = passage.counts[HAN] / passage.num_letters if passage.num_letters else 0.0
    return "not Chinese" if share < least else None


def menu(passage: Passage, rules: TextRules) -> str | None:
    """Eight or more words of two to four characters side by side, hardly a sentence mark among them."""
    gaps = len(_BETWEEN_ITEMS.findall(passage.text))
    if gaps < 7 or passage.num_letters > 4.5 * (gaps + 1):
        return None
    return "menu" if len(_SENTENCE_MARK.findall(passage.text)) * 8 <= gaps else None


def too_many_symbols(passage: Passage, rules: TextRules) -> str | None:
    """Lines drawn with ★ and =, and tables without their frame."""
    return _beyond(passage.counts[SYMBOL], rules.largest_symbol_share, passage, "too many symbols")


def too_many_marks(passage: Passage, rules: TextRules) -> str | None:
    """Even verse of three characters a line has no more marks than one in four."""
    return _beyond(passage.num_marks, rules.largest_mark_share, passage, "too many marks")


def too_many_ellipses(passage: Passage, rules: TextRules) -> str | None:
    """Lines that break off are the beginnings of other pages."""
    if len(passage.lines) < FEWEST_LINES:
        return None
    broken = sum(line.endswith(_ELLIPSES) for line in passage.lines)
    return "too many ellipses" if broken > rules.largest_ellipsis_share * len(passage.lines) else None


def too_many_bullets(passage: Passage, rules: TextRules) -> str | None:
    """A list without a sentence before or after it is an index."""
    if len(passage.lines) < FEWEST_LINES:
        return None
    bullets = len(_BULLET.findall(passage.text))
    return "too many bullets" if bullets > rules.largest_bullet_share * len(passage.lines) else None


def repetition(passage: Passage, rules: TextRules) -> str | None:
    """One line again and again is a menu or spam, not a passage."""
    if len(passage.lines) < FEWEST_LINES:
        return None
    line, count = Counter(passage.lines).most_common(1)[0]
    repeated = count > 1 and len(line) * count > rules.largest_repeated_share * sum(map(len, passage.lines))
    return "repeated lines" if repeated else None


def repeated_ngrams(passage: Passage, rules: TextRules) -> str | None:
    """The same words again and again, whether in lines or not.

    A run of four letters is a word or two: one that fills more than half of a text is stuffing for search engines
    (北京租车 北京租车公司 北京租车价格). Old songs come near: 采采芣苢 fills exactly half of its song. A run of eight
    is a clause: a song of verse, chorus, verse, chorus, chorus repeats two fifths of itself, a text that was pasted
    twice one half; the limit stands between.
    """
    if passage.num_letters < FEWEST_FOR_SHARES:
        return None
    times = max(5, int(rules.largest_ngram_share * passage.num_letters / 4) + 1)
    repeated = passage.has_ngram(times) or passage.duplicates_beyond(rules.largest_duplicate_share)
    return "repeated words" if repeated else None


def not_fluent(passage: Passage, rules: TextRules) -> str | None:
    """A language model is not too surprised. Asked only if the recipe gives a limit."""
    if not rules.largest_perplexity:
        return None
    from m6.corpus.text import fluency

    perplexity = fluency.perplexity(passage.text, rules.fluency_model)
    return "not fluent" if perplexity > rules.largest_perplexity else None


def _beyond(count: int, share: float, passage: Passage, reason: str) -> str | None:
    seen = passage.num_letters + passage.num_marks
    return reason if seen >= FEWEST_FOR_SHARES and count > share * seen else None


Rule = Callable[[Passage, TextRules], str | None]
RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        no_text,
        broken_characters,
        sensitive,
        advertising,
        boilerplate,
        short_title,
        short_text,
        long_text,
        other_language,
        too_many_digits,
        not_chinese,
        too_many_ellipses,
        too_many_bullets,
        too_many_symbols,
        too_many_marks,
        menu,
        repetition,
        repeated_ngrams,
        not_fluent,
    )
}
