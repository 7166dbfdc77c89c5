"""The studio page of a server with weights drawn by chance, in headless Chromium, as four people see it.

All tests are skipped where there is no playwright or no Chromium: `pip install playwright`, `apt install chromium`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from m6.serve.service import Service
from tests.unit.serve.small_service import make_service, served

QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
"""Chromium is to ask nobody for anything of its own."""


@dataclass
class Viewer:
    """Who looks at the page, and how."""

    language: str
    width: int
    scheme: str

    def __str__(self) -> str:
        return f"{self.language}-{self.width}-{self.scheme}"


VIEWERS = [Viewer("zh-CN", 1280, "light"), Viewer("en-US", 1280, "dark"), Viewer("zh-CN", 390, "dark")]
VIEWERS += [Viewer("en-US", 390, "light")]


@dataclass
class Opened:
    """An open page, and what it did that nobody sees."""

    page: Any
    url: str
    viewer: Viewer
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def says(self, chinese: str, english: str) -> str:
        """The text that this viewer reads."""
        return chinese if self.viewer.language == "zh-CN" else english


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Closed behind the last test of the module: while it is open an event loop runs in this thread, and no other test
    could run one."""
    api = pytest.importorskip("playwright.sync_api", reason="the browser tests need: pip install playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("the browser tests need Chromium: apt install chromium")
    with api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield made
        made.close()


@pytest.fixture(scope="module")
def service(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = make_service(tmp_path_factory.mktemp("studio") / "run", slots=8, text_slots=2)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(service: Service) -> Iterator[str]:
    with served(service) as address:
        yield address


@pytest.fixture(params=VIEWERS, ids=str)
def opened(request: pytest.FixtureRequest, browser: Any, url: str) -> Iterator[Opened]:
    """The page, loaded; at the end it must have had no fault and asked nobody else."""
    yield from open_page(browser, url, request.param)


@pytest.fixture
def chinese(browser: Any, url: str) -> Iterator[Opened]:
    """The same for one viewer, where language and size make no difference."""
    yield from open_page(browser, url, VIEWERS[0])


def open_page(browser: Any, url: str, viewer: Viewer) -> Iterator[Opened]:
    context = browser.new_context(
        viewport={"width": viewer.width, "height": 844}, locale=viewer.language, color_scheme=viewer.scheme,
        has_touch=viewer.width < 500,
    )  # fmt: skip
    context.set_default_timeout(20_000)
    opened = Opened(context.new_page(), url, viewer)
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.page.goto(url)
    opened.page.locator("#model:not(:empty)").wait_for(state="attached")
    yield opened
    outside = [asked for asked in opened.requests if not asked.startswith((url, "data:", "blob:"))]
    context.close()
    assert not outside
    assert not opened.faults
