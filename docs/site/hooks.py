"""What MkDocs is told to do differently, so that one folder of pages in two languages becomes two sites of one shape.

In: docs/en and docs/zh, page for page, and beside them what is written once (decisions, architecture, reference). Out:
for each of the two config files a site without the name of its language in addresses, so that a page has the same
address in both, and the switch of languages stays on it. Links to files outside docs lead to copies of them: the site
is whole without a network and without the repository.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a test calls these functions without MkDocs
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LANGUAGES = {"en": "English", "zh": "中文"}
SITES = {"en": "", "zh": "zh/"}
"""Where the site of a language stands within the whole."""
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
LOADED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
"""What a browser fetches by itself."""
REPOSITORY = "repository/"
"""Where copies of files outside docs stand."""
log = logging.getLogger("mkdocs.plugins.m6")


def _language(config: MkDocsConfig) -> str:
    return str(config.theme["language"])


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The list of pages, each where it stands on the disk."""
    docs, language = Path(config.docs_dir), _language(config)
    titles = config.extra.get("titles", {})

    def placed(item: Any) -> list[Any]:
        if isinstance(item, dict):
            ((title, children),) = item.items()
            return [{titles.get(title, title): [page for child in children for page in placed(child)]}]
        if item.endswith("/"):
            return [page.relative_to(docs).as_posix() for page in sorted((docs / item).glob("*.md"))]
        for path in (f"{language}/{item}", item):
            if (docs / path).is_file():
                return [{titles[item]: path}] if item in titles else [path]
        log.info(f"{item} is in the list of pages, and not written yet")
        return []

    config.nav = [section for item in config.nav or [] for section in placed(item) if list(section.values()) != [[]]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Without pages of the other language, without the name of this one in addresses, with what links lead to."""
    from mkdocs.structure.files import File, InclusionLevel

    language = _language(config)
    for file in list(files):
        folder, _, rest = file.dest_uri.partition("/")
        if folder == language:
            file.dest_uri = rest
        elif folder in LANGUAGES:
            files.remove(file)
    waiting = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for link in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            path = _path(link[0], page, language)
            src_uri = _src_uri(path) if path else ""
            if path and src_uri.startswith(REPOSITORY) and not files.get_file_from_path(src_uri):
                inclusion = InclusionLevel.NOT_IN_NAV
                files.append(File.generated(config, src_uri, abs_src_path=str(ROOT / path), inclusion=inclusion))
                waiting += [path] if path.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """With links that lead somewhere on this site, and a word about its language where it is another one."""
    language, src_uri = _language(config), page.file.src_uri
    real = src_uri.removeprefix(REPOSITORY) if src_uri.startswith(REPOSITORY) else f"docs/{src_uri}"

    def target(found: re.Match[str]) -> str:
        path = _path(found[1], real, language)
        if path is None:
            return found[0]
        told = posixpath.normpath(posixpath.join(posixpath.dirname(real), found[1]))
        anchor = (found[2] or "") if told == path else ""  # in another language it has another name
        return posixpath.relpath(_src_uri(path), posixpath.dirname(src_uri) or ".") + anchor

    note = config.extra.get("english_only")
    if note and not src_uri.startswith(f"{language}/") and ".zh." not in src_uri:
        markdown = re.sub(r"\A(# .+\n)", rf'\1\n!!! quote ""\n    {note}\n', markdown)
    return LINK.sub(target, markdown)


def _path(link: str, page: str, language: str) -> str | None:
    """What a link on a page leads to, both by their paths in the repository: a page in this language where there is
    one, for a folder the first file in it, for a README the home page. None if it leads out of it, or nowhere."""
    if re.match(r"\w+:|/", link):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    if path in ("README.md", "README.zh.md"):
        path = f"docs/{language}/index.md"
    for other in LANGUAGES:
        own = path.replace(f"docs/{other}/", f"docs/{language}/", 1)
        path = own if (ROOT / own).is_file() else path
    if (ROOT / path).is_dir():
        path = min(
            (file.relative_to(ROOT).as_posix() for file in (ROOT / path).iterdir() if file.is_file()), default=""
        )
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def _src_uri(path: str) -> str:
    """What MkDocs calls a file of the repository."""
    return path.removeprefix("docs/") if path.startswith("docs/") else REPOSITORY + path


def on_page_context(context: dict[str, Any], page: Page, config: MkDocsConfig, nav: Any) -> None:
    """The switch of languages leads to the same page."""
    here = posixpath.join("/", SITES[_language(config)], posixpath.dirname(page.url))
    config.extra["alternate"] = [
        {
            "name": name,
            "lang": language,
            "link": _unfiltered(posixpath.relpath(f"/{SITES[language]}{_address(page.url, language)}", here), page.url),
        }
        for language, name in LANGUAGES.items()
    ]


def _address(url: str, language: str) -> str:
    """Where the site of a language has a page: at the same place, unless it is a file of the repository that has
    another name in each language, as CONTRIBUTING.md and CONTRIBUTING.zh.md have."""
    english = url.replace(".zh.html", ".html")
    chinese = english.replace(".html", ".zh.html")
    written = (ROOT / chinese.removeprefix(REPOSITORY)).with_suffix(".md").is_file()
    return chinese if language == "zh" and written else english


def _unfiltered(link: str, url: str) -> str:
    """What the theme's filter `url` makes into a link on a page. The filter takes the leading `..` off, takes what
    remains as a path from the root of the site, makes that relative to the folder of the page, and puts the `..` back
    in front. So the folder of the page has to stand between the two."""
    inside = link
    while inside.startswith("../"):
        inside = inside.removeprefix("../")
    return link.removesuffix(inside) + posixpath.join(posixpath.dirname(url), inside)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuses a page that would fetch something from elsewhere."""
    site = Path(config.site_dir)
    for page in site.rglob("*.html"):
        if found := LOADED.findall(page.read_text(encoding="utf-8")):
            log.warning(f"{page.relative_to(site)} fetches from elsewhere: {', '.join(found)}")
