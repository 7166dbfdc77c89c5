"""Wikitext: MediaWiki's markup, as plain text.

In: the source of an article. Out: its paragraphs, headings and list items, a line each, without templates, tables,
references, files and categories. Each step reads the text once, and nesting is followed with a stack: markup that is
not balanced costs its own paragraph, not time. Of language variants `-{zh-hans:…;zh-hant:…}-` the simplified is taken.
"""

from __future__ import annotations

import html
import re

# Markup inside <nowiki> is put out of the way of all steps, as characters of private use.
_MARKS = "[]{}|'=*#:;<>&-!_"
_HIDE = {ord(mark): 0xE000 + index for index, mark in enumerate(_MARKS)}
_SHOW = {code: mark for mark, code in _HIDE.items()}
_PRIVATE = re.compile("[\0\ue000-\uf8ff]")

# Lazy and open to the end of the text, so each reads its text once. Not possessive: Python 3.11.2 gets those wrong.
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOWIKI = re.compile(r"<nowiki\s*>(.*?)(?:</nowiki\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_EMPTY_TAG = re.compile(r"<(?:ref|references|nowiki|section)\b[^<>]{0,500}/>", re.IGNORECASE)
# Elements that are no prose, and go with all that is in them
_NO_PROSE = (
    "ref math chem ce gallery timeline score syntaxhighlight source imagemap graph templatedata templatestyles mapframe"
    " maplink hiero categorytree inputbox indicator references poll style script"
)
_OPENING = re.compile(rf"<({_NO_PROSE.replace(' ', '|')})\b[^<>]{{0,500}}>", re.IGNORECASE)
_CLOSING = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in _NO_PROSE.split()}
_BREAK = re.compile(r"<(?:br|hr|/?p|/?div|/?blockquote|/?li|/?tr|/?h[1-6])\b[^<>\n]{0,500}>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,500}>")
_BRACKETS = re.compile(r"(\{\{|\}\}|\[\[|\]\])")
_DEEPEST = 40  # templates and links within each other; what is deeper is left out

_EXTERNAL = re.compile(r"\[(?:mailto:|(?:https?:|ftp:)?//)[^\s\[\]]{1,2000}(?:\s([^\[\]\n]*))?\]")
_VARIANT = re.compile(r"-\{([^{}]*)\}-")
_VARIANT_NAME = re.compile(r"(?:^|;)\s*(zh(?:-[a-z]{2,4})?)\s*:")
_PREFERRED = ("zh-hans", "zh-cn", "zh", "zh-sg", "zh-my")
_EMPHASIS = re.compile("'{2,5}")
_HEADING = re.compile(r"(={1,6}) ?(.+?) ?\1")
_LIST = re.compile(r"[*#:;]+ ?")
_SWITCH = re.compile(r"__[A-Z\u4e00-\u9fff]{2,20}__")
_FILE = re.compile(r"\s*(?:file|image|media|文件|档案|檔案|图像|圖像|图片|圖片|媒体|媒體)\s*:", re.IGNORECASE)
_CATEGORY = re.compile(r"\s*(?:category|分类|分類)\s*:", re.IGNORECASE)
_LANGUAGE = re.compile(r"\s*(?:[a-z]{2,3}(?:-[a-z-]{2,12})?|simple)\s*:")
_PARENTHESIS = re.compile(r"[（(][^（()）]{0,100}[)）]\Z")
_LOST = (  # what a template leaves behind when it goes: （，1900年） and （）
    (re.compile(r"([（(])[\s，,；;：:、]{1,20}"), r"\1"),
    (re.compile(r"[\s，,；;：:、]{1,20}([）)])"), r"\1"),
    (re.compile(r"（）|\(\)"), ""),
)
_BACK_MATTER = (
    "参考文献 参考资料 参考来源 参考 參考文獻 參考資料 參考來源 參考 注释 注釋"
    " 註釋 注解 註解 脚注 腳註 备注 備註 外部链接 外部連結 外部鏈接 相关链接 相關連結"
    " 参见 參見 另见 另見 相关条目 相關條目 延伸阅读 延伸閱讀 来源 來源 资料来源 資料來源"
)
_NO_CONTENT = frozenset(_BACK_MATTER.split())  # sections that are lists of other things to read
# Templates that stand within sentences, by the argument that is read
_FIRST_READ = frozenset(
    ("nowrap", "nobr", "nobold", "small", "smaller", "big", "bigger", "le", "ill", "ilh", "u", "kbd")
)
_LAST_READ = frozenset(("lang", "tsl", "transl", "color", "font color"))


def plain_text(wikitext: str) -> str:
    """The article as plain text, a paragraph a line."""
    text = _COMMENT.sub("", _PRIVATE.sub("", wikitext.replace("\r", "")))
    text, num_hidden = _NOWIKI.subn(lambda found: found[1].translate(_HIDE), text)
    text = _without_elements(_EMPTY_TAG.sub("", text))
    text = _without_tables(_without_brackets(text))
    text = _EXTERNAL.sub(lambda found: found[1] or "", text)
    for _ in range(3):  # variants may stand within variants
        text, count = _VARIANT.subn(lambda found: _variant(found[1]), text)
        if not count:
            break
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _SWITCH.sub("", _EMPHASIS.sub("", text) if "''" in text else text)
    if "&" in text:
        text = html.unescape(text)
    for pattern, instead in _LOST:
        text = pattern.sub(instead, text)
    plain = "\n".join(_lines(text))
    return plain.translate(_SHOW) if num_hidden else plain


def _without_elements(text: str) -> str:
    """Without the elements that are no prose; one that is never closed goes to the end of its line."""
    parts, at = [], 0
    never_closed: set[str] = set()
    while opening := _OPENING.search(text, at):
        parts.append(text[at : opening.start()])
        name = opening[1].lower()
        closing = None if name in never_closed else _CLOSING[name].search(text, opening.end())
        if closing:
            at = closing.end()
        else:
            never_closed.add(name)
            at = text.find("\n", opening.end())
            at = len(text) if at < 0 else at
    return "".join((*parts, text[at:]))


def _without_brackets(text: str) -> str:
    """Templates and links resolved, from the inside out."""
    outer: list[tuple[str, list[str]]] = []  # what is open, and the text before it
    parts: list[str] = []
    for piece in _BRACKETS.split(text):
        if piece in ("{{", "[["):
            outer.append((piece, parts))
            parts = []
        elif piece in ("}}", "]]"):
            opening = "{{" if piece == "}}" else "[["
            if len(outer) > 1 and outer[-1][0] != opening and outer[-2][0] == opening:
                parts = outer.pop()[1] + parts  # the inner one was never closed
            if outer and outer[-1][0] == opening:
                inside = "".join(parts) if len(outer) <= _DEEPEST else ""
                parts = outer.pop()[1]
                parts.append(_template(inside) if opening == "{{" else _link(inside))
        elif piece:
            parts.append(piece)
    return "".join(piece for _, before in [*outer, ("", parts)] for piece in before)


def _template(inside: str) -> str:
    """What a template shows within a sentence; most show boxes, notes and tables, which go."""
    name, _, rest = inside.partition("|")
    name = name.strip().lower()
    read_last = name in _LAST_READ or name.startswith("lang-")
    if not (read_last or name in _FIRST_READ or name == "bd" or name.startswith(("link-", "internal link helper"))):
        return ""
    values = [value.strip() for value in rest.split("|") if "=" not in value] or [""]
    if name == "bd":  # born and died: year, day, year, day
        return f"{''.join(values[:2])}－{''.join(values[2:4])}"
    return values[-1] if read_last else values[0]


def _link(inside: str) -> str:
    """What a link shows."""
    target, bar, label = inside.rpartition("|")
    if _FILE.match(inside) or _CATEGORY.match(inside) or (not bar and _LANGUAGE.match(inside)):
        return ""
    if not bar:
        return inside.strip().lstrip(":").replace("#", " ").strip()
    if label.strip():
        return label
    return _PARENTHESIS.sub("", target.rpartition(":")[2]).strip()  # [[北京 (消歧义)|]]


def _without_tables(text: str) -> str:
    """Without tables, however nested; of one that is never closed its first line goes."""
    if "{|" not in text:
        return text
    lines = text.split("\n")
    begun: list[int] = []
    for index, line in enumerate(lines):
        beginning = line.lstrip(" :*#")[:2]
        if beginning == "{|":
            begun.append(index)
        elif beginning == "|}" and begun:
            first = begun.pop()
            if not begun:
                lines[first : index + 1] = [""] * (index + 1 - first)
    for index in begun:
        lines[index] = ""
    return "\n".join(lines)


def _variant(inside: str) -> str:
    """The simplified one of the variants of a word, or the word that has none; rules that show nothing are empty."""
    flags, _, rest = inside.rpartition("|")
    if not set(flags.upper()).isdisjoint("HTD-"):
        return ""
    first, *pieces = _VARIANT_NAME.split(rest)
    if not pieces:
        return first
    variants = {name: value.strip().removesuffix(";") for name, value in zip(pieces[::2], pieces[1::2], strict=True)}
    return next((variants[name] for name in _PREFERRED if name in variants), pieces[1].strip())


def _lines(text: str) -> list[str]:
    """Paragraphs, list items, and headings that have something under them."""
    lines: list[str] = []
    pending: list[tuple[int, str]] = []  # level and name of the headings that have nothing under them yet
    left_out = 0  # level of the heading of a section that is left out; 0 outside of one
    for raw in text.split("\n"):
        line = " ".join(raw.split())
        if not line or line[0] in "|!{}" or line.startswith("----"):
            continue
        heading = _HEADING.fullmatch(line) if line[0] == "=" else None
        if heading:
            level, name = len(heading[1]), heading[2].translate(_SHOW)
            if left_out and level > left_out:
                continue
            left_out = level if name in _NO_CONTENT else 0
            pending = [above for above in pending if above[0] < level]
            if not left_out:
                pending.append((level, name))
        elif not left_out:
            line = _LIST.sub("", line, count=1) if line[0] in "*#:;" else line
            if any(map(str.isalnum, line)):
                lines.extend(name for _, name in pending)
                pending = []
                lines.append(line)
    return lines
