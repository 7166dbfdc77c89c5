"""groff: from the source of a manual page to its text.

In: a page in the macros of `man` (and, roughly, of `mdoc`). Out: its text, a paragraph, heading, term or line of code
on each line. Only what pages in the wild use is known; other requests are left out with their arguments, and so are
definitions, conditions and tables. Nothing is run, and no input makes it raise.
"""

from __future__ import annotations

import re

from m6.corpus.starter.packages.wrapped import join


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BREAKS = _names("PP LP P HP RS RE TP TQ IP sp br in ti Pp Bl El Bd Ed It bp ta Sp UR UE MT ME HD")
_WITH_TERM = _names("IP It")
_CODE_BEGINS, _CODE_ENDS = _names("nf Vb EX CS Bd DS"), _names("fi Ve EE CE Ed DE")
_SKIPPED = {"de": "..", "ig": "..", "TS": ".TE", "PS": ".PE", "EQ": ".EN"}  # request, line that ends it
_HEADINGS = _names("SH SS Sh Ss")
_WORDS = _names("B I SM SB R Nm Ar Pa Ic Cm Em Sy Li Ql Dq Sq Pq Bq Tn Ev Dv Fa Fn Va Vt Ad An Sx Dl Nd URL Op Xr Fl")
_ALTERNATING = _names("BR BI IR IB RB RI")
_MDOC = _WORDS | _names("Ns Ap No Oo Oc Po Pc")

_REQUEST = re.compile(r"[.'][ \t]*([^\s\\\"]*)[ \t]*(.*)")
_COMMENT = re.compile(r'(?<!\\)\\["#].*')
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')
_ESCAPE = re.compile(
    r"""\\(?:
      (?P<nothing> f(?:\(..|\[[^\]]*\]|.) | s(?:\([+-]?..|\[[^\]]*\]|[+-]?\d{1,2}) | [mMFY](?:\(..|\[[^\]]*\]|.)
        | [ngk][+-]?(?:\(..|\[[^\]]*\]|.) | [hvwlLDHNSxobXRZA]'[^']*' | [&,/|^%:)cudpraz{}!?] )
    | (?P<space> [ ~0t] )
    | \*?(?:\((?P<two>..)|\[(?P<long>[^\]]*)\]) | \*(?P<one>.) | (?P<other>.) | $ )""",
    re.VERBOSE,
)
_PAIRS = (
    'lq “|rq ”|L" “|R" ”|oq ‘|cq ’|aq \'|dq "|ga `|ha ^|em —|-- —|en –|hy -|mi -|bu •|sl /|rs \\|ti ~|co ©|rg ®'
    "|R ®|tm ™|Tm ™|de °|mu ×|+- ±|<= ≤|>= ≥|!= ≠|-> →|<- ←|C+ C++|PI π|ul _"
)
_CHARACTERS = dict(pair.split(" ") for pair in _PAIRS.split("|")) | dict.fromkeys(("br", "bv", "or"), "|")
"""By two letters or by a longer name, what stands for it."""


def plain(source: str) -> str:
    """The text of a page."""
    page = _Page()
    lines = iter(source.replace("\\\n", "").splitlines())
    for line in lines:
        request = _REQUEST.fullmatch(line)
        if request is None:
            page.line(line)
            continue
        name, rest = request.groups()
        if name in _SKIPPED:
            end = _SKIPPED[name]
            next((skipped for skipped in lines if skipped.rstrip().startswith(end)), None)
        elif name in ("if", "ie", "el", "while"):
            depth = rest.count("\\{") - rest.count("\\}")
            while depth > 0 and (skipped := next(lines, None)) is not None:
                depth += skipped.count("\\{") - skipped.count("\\}")
        else:
            rest = _COMMENT.sub("", rest)
            page.request(name, [unescape(_unquoted(found)) for found in _ARGUMENT.finditer(rest)])
    return page.finished()


def unescape(text: str) -> str:
    """A line with its escapes resolved."""
    return _ESCAPE.sub(_character, _COMMENT.sub("", text))


def _character(found: re.Match[str]) -> str:
    if found["nothing"]:
        return ""
    if found["space"]:
        return " "
    name = found["two"] or found["long"] or found["one"]
    if name is not None:
        return _CHARACTERS.get(name, "")
    return {"e": "\\", "E": "\\", None: ""}.get(found["other"], found["other"])


def _unquoted(argument: re.Match[str]) -> str:
    return argument[1].replace('""', '"') if argument[1] is not None else argument[2]


class _Page:
    """The text as it grows: finished lines, and the paragraph that is being filled."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._paragraph = ""
        self._code = False
        self._alone = False  # the next text is a heading or a term: a line of its own

    def line(self, source: str) -> None:
        """A line without a request: an empty or indented one begins a paragraph."""
        text = unescape(source)
        if self._code:
            self._lines.append(text.rstrip())
            return
        if not source.strip() or source[0] in " \t":
            self._break()
        self._say(text.strip())

    def request(self, name: str, words: list[str]) -> None:
        """A request with its arguments."""
        if name in _HEADINGS:
            self._code = False
            self._break()
            self._alone = True
            self._say(" ".join(words))
        elif name in _ALTERNATING:
            self._say("".join(words))
        elif name in _WORDS:
            self._say(_mdoc(name, words))
        elif name in _BREAKS | _CODE_BEGINS | _CODE_ENDS:
            self._break()
            self._code = (self._code or name in _CODE_BEGINS) and name not in _CODE_ENDS
            self._alone = name in _WITH_TERM or name in ("TP", "TQ")
            if name in _WITH_TERM:
                term = _mdoc(name, words) if name != "IP" else "".join(words[:1])
                self._say(term if term.strip("•*o- ") else "")
                self._alone = False

    def finished(self) -> str:
        """All lines that say something."""
        self._break()
        return "\n".join(line for line in self._lines if line.strip())

    def _say(self, text: str) -> None:
        if not text:
            return
        if self._code:
            self._lines.append(text)
            return
        self._paragraph = join(self._paragraph, text)
        if self._alone:
            self._alone = False
            self._break()

    def _break(self) -> None:
        if self._paragraph.strip():
            self._lines.append(" ".join(self._paragraph.split()))
        self._paragraph = ""


def _mdoc(name: str, words: list[str]) -> str:
    """Arguments of `mdoc`, in which a word may be a macro again: `.Op Fl a Ar file`."""
    said: list[str] = []
    macro = name
    for word in words:
        if word in _MDOC and len(word) == 2:
            macro = word
        elif macro == "Fl":
            said.append("-" + word)
        elif macro == "Xr" and said and word.isalnum() and len(word) <= 2:
            said[-1] += f"({word})"
        else:
            said.append(word)
    return " ".join(said)
