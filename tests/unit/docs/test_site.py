"""The site of the manual has every page: `make docs` builds it, which these tests do not, since that takes minutes."""

from __future__ import annotations

import re

from tests.unit.docs.pages import DOCS, ROOT

NAV = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1].split("\n\n")[0]


def listed() -> list[str]:
    """The pages of the navigation, and the folders that stand for all of theirs."""
    return re.findall(r"^ +- ([\w/-]+(?:\.md|/))$", NAV, re.MULTILINE)


def test_every_page_is_in_the_navigation_once() -> None:
    folders = tuple(name for name in listed() if name.endswith("/"))
    written = {path.relative_to(DOCS / "en").as_posix() for path in (DOCS / "en").rglob("*.md")}
    written |= {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if path.parts[-2] not in ("en", "zh")}
    written = {page for page in written if not page.startswith((*folders, "en/", "zh/", "site/"))}
    assert sorted(written - set(listed())) == []
    assert len(listed()) == len(set(listed()))


def test_titles_in_chinese_are_of_what_is_listed() -> None:
    text = (ROOT / "mkdocs.zh.yml").read_text(encoding="utf-8")
    titles = re.findall(r"^    ([\w./-]+): ", text.split("  titles:\n")[1], re.MULTILINE)
    sections = re.findall(r"^ +- (\w+):$", NAV, re.MULTILINE)
    assert set(sections) <= set(titles)
    assert set(titles) <= {*sections, *listed()}
