"""The guides: one page a language with the same headings and code, and links that lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
ENGLISH = sorted(page.relative_to(DOCS / "en") for page in (DOCS / "en").rglob("*.md"))
BESIDE = ("README", "CONTRIBUTING")
"""Pages outside docs that are there in both languages."""
PAGES = sorted([*DOCS.rglob("*.md"), *(DOCS.parent / name for name in ("README.md", "README.zh.md"))])


def without_code(text: str) -> str:
    """The page without its code blocks, in which a # is no heading and brackets are no links."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)


def levels(text: str) -> list[int]:
    """How deep each heading is, in order."""
    return [len(marks) for marks in re.findall(r"^(#+) ", without_code(text), re.MULTILINE)]


def code(text: str) -> list[tuple[str, str]]:
    """Language and lines of each code block, without comments and docstrings; of plain text the language alone."""
    blocks = re.findall(r"^( *)```(\w*)\n(.*?)^\1```", text, re.DOTALL | re.MULTILINE)
    said = r'\s+#.*$|^\s*#.*\n|""".*?"""'
    return [(name, "" if name == "text" else re.sub(said, "", lines, flags=re.M)) for _, name, lines in blocks]


def anchors(text: str) -> set[str]:
    """What a link may name within the page: headings in small letters, words joined by hyphens."""
    found = re.findall(r"^#+ (.+)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def links(text: str) -> list[str]:
    """Targets of links and pictures on this site."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_code(text))
    return [target for target in found if not re.match(r"\w+:", target)]


def test_every_page_is_there_in_both_languages() -> None:
    assert sorted(page.relative_to(DOCS / "zh") for page in (DOCS / "zh").rglob("*.md")) == ENGLISH


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        *((f"docs/en/{page}", f"docs/zh/{page}") for page in ENGLISH),
        *((f"{name}.md", f"{name}.zh.md") for name in BESIDE),
    ],
)
def test_both_languages_have_the_same_headings_and_code(english: str, chinese: str) -> None:
    english, chinese = ((DOCS.parent / page).read_text(encoding="utf-8") for page in (english, chinese))
    assert levels(english) == levels(chinese)
    assert code(english) == code(chinese)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS.parent)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        meant = (page.parent / name).resolve() if name else page
        assert meant.exists(), target
        if anchor:
            assert anchor in anchors(meant.read_text(encoding="utf-8")), target
