"""The site of the manual has every page: `make docs` builds it, which these tests do not, since that takes minutes."""

from __future__ import annotations

import importlib.util
import posixpath
import re
from types import ModuleType, SimpleNamespace

import pytest

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


def hooks() -> ModuleType:
    """The file that MkDocs calls."""
    spec = importlib.util.spec_from_file_location("site_hooks", DOCS / "site" / "hooks.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filtered(link: str, url: str) -> str:
    """What the theme's templates make of a link on a page, as `mkdocs.utils.normalize_url` does."""
    up = re.match(r"(\.\./)*", posixpath.normpath(link))
    assert up
    inside = posixpath.normpath(f"/{link}")  # nothing is above the root
    return up[0] + posixpath.relpath(inside, posixpath.join("/", posixpath.dirname(url)))


@pytest.mark.parametrize(
    ("page", "other"),
    [
        ("index.html", "index.html"),
        ("tasks/poems.html", "tasks/poems.html"),
        ("repository/benchmarks/results/index.html", "repository/benchmarks/results/index.html"),
        ("repository/CONTRIBUTING.html", "repository/CONTRIBUTING.zh.html"),
    ],
)
def test_the_switch_of_languages_leads_to_the_same_page(page: str, other: str) -> None:
    places = {"en": page, "zh": f"zh/{other}"}
    for own, place in places.items():
        url = place.removeprefix("zh/")
        config = SimpleNamespace(theme={"language": own}, extra={})
        hooks().on_page_context({}, SimpleNamespace(url=url), config, None)
        for there in config.extra["alternate"]:
            link = filtered(there["link"], url)
            assert posixpath.normpath(posixpath.join(posixpath.dirname(place), link)) == places[there["lang"]]


def test_the_logo_leads_to_a_file() -> None:
    """Not to a folder, of which a browser without a server shows the listing."""
    extra = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nextra:\n")[1].split("\n\n")[0]
    assert "  homepage: index.html" in extra
