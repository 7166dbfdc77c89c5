"""Each thing that a person does on the page, as four viewers: both languages, a desktop and a phone, light and dark."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from m6.serve.service import Service
from tests.browser.conftest import Opened
from tests.unit.serve.small_service import data_url, make_service, served

pytestmark = pytest.mark.xdist_group("browser")
PNG = base64.b64decode(data_url().split(",")[1])
TABS = ("look", "write", "paint", "gallery")
TRANSFER = """([kind, data, target]) => {
  const file = new File([Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0))], "a.png", { type: "image/png" });
  const carried = new DataTransfer();
  carried.items.add(file);
  const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: carried, bubbles: true });
  document.querySelector(target).dispatchEvent(event);
}"""


def choose_picture(page: Any) -> None:
    page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": PNG})
    page.locator("#describe:enabled").wait_for()


def paint(page: Any, prompt: str, count: int = 2) -> None:
    """Paints, and waits until all are done."""
    if not page.locator("#count").is_visible():
        page.locator("summary").click()
    page.locator("#count").fill(str(count))
    page.locator("#tab-paint").click()
    page.locator("#prompt").fill(prompt)
    page.locator("#paint-form button.main").click()
    page.locator("#pictures .download:visible").nth(count - 1).wait_for()


def test_a_picture_is_described_asked_about_and_compared(opened: Opened) -> None:
    page = opened.page
    choose_picture(page)
    page.locator("#describe").click()
    page.locator("#talk li .said:not(:empty)").wait_for()
    assert page.locator("#talk .asked").inner_text() == opened.says("这张图是", "The picture shows")
    page.locator("#questions button").first.click()
    page.locator("#talk li").nth(1).wait_for()
    page.locator("#question").fill("是什么颜色？")
    page.locator("#ask button").click()
    page.locator("#talk li").nth(2).wait_for()
    assert page.locator("#talk .asked").first.inner_text() == "是什么颜色？"
    page.locator("#texts").fill("红苹果\n一只猫\n")
    page.locator("#match button").click()
    page.locator(".bars progress").nth(1).wait_for()
    shares = [int(share.split()[0]) for share in page.locator(".bars span:nth-child(2)").all_inner_texts()]
    assert 99 <= sum(shares) <= 101
    page.locator("#texts").fill("红苹果")
    page.locator("#match button").click()
    assert page.locator("#notice").inner_text() == opened.says(
        "至少写两句，每行一句。", "Give at least two texts, one a line."
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(chinese: Opened, kind: str) -> None:
    page = chinese.page
    page.locator("#tab-paint").click()  # wherever one is
    page.evaluate(TRANSFER, [kind, base64.b64encode(PNG).decode(), "body"])
    page.locator("#describe:enabled").wait_for()
    assert page.locator("#picture").get_attribute("src").startswith("data:image/png;base64,")


def test_an_example_is_taken(chinese: Opened) -> None:
    page = chinese.page
    page.get_by_role("button", name="汽车", exact=True).click()
    page.locator("#describe:enabled").wait_for()


def test_a_poem_is_written_in_its_form(opened: Opened, service: Service) -> None:
    page = opened.page
    page.locator("#tab-write").click()
    page.locator("#titles button").first.click()
    assert page.locator("#title").input_value() == "春夜"
    page.get_by_label(opened.says("五言绝句", "Quatrain of fives")).check()
    page.locator("#poem-form button.main").click()
    page.locator("#another:enabled").wait_for()
    page.locator("#poem-about:not(:empty)").wait_for()  # of this poem, not of the one that the title began
    about = page.locator("#poem-about").inner_text()
    seed = int(about.split()[-1])
    assert about.startswith("五言绝句 · ")
    first = page.locator("#poem").inner_text()
    assert first.startswith("春夜")
    assert [len(line) for line in first.split("\n")[1:] if line] == [6] * 4
    page.locator("#another").click()
    page.locator("#poem-about", has_text=f"{seed + 1}").wait_for()
    assert page.locator("#poem").inner_text() != first


def test_paintings_are_painted_varied_kept_asked_about_and_downloaded(opened: Opened, tmp_path: Path) -> None:
    page = opened.page
    paint(page, "猫")
    cards = page.locator("#pictures li")
    assert cards.count() == 2
    assert page.locator("#pictures img").first.get_attribute("alt") == opened.says("画：猫", "Painting: 猫")
    seed = int(cards.first.get_attribute("data-seed"))
    before = page.locator("#pictures img").first.get_attribute("src")
    with page.expect_download() as saved:
        cards.first.locator(".download").click()
    assert saved.value.suggested_filename == f"猫-{seed}.png"
    saved.value.save_as(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == base64.b64decode(before.split(",")[1])
    cards.first.locator(".keep").click()
    assert page.locator("#kept").inner_text() == "1"
    cards.first.locator(".vary").click()
    page.locator(f"#pictures li[data-seed='{seed + 100}'] .download:visible").wait_for()
    assert page.locator("#pictures img").first.get_attribute("src") != before
    page.locator("#tab-gallery").click()
    kept = page.locator("#kept-pictures li")
    assert kept.locator("img").get_attribute("src") == before
    kept.locator(".ask").click()
    assert page.locator("#picture").get_attribute("src") == before
    page.locator("#tab-gallery").click()
    kept.locator(".keep").click()
    assert kept.count() == 0
    assert page.locator("#nothing").is_visible()


def test_a_painting_appears_bit_by_bit_and_a_seed_paints_it_again(chinese: Opened) -> None:
    page = chinese.page
    seen: list[str] = []
    page.expose_function("seen", lambda picture: seen.append(picture))
    page.evaluate("""() => new MutationObserver((all) => { for (const each of all) window.seen(each.target.src); })
      .observe(document.getElementById("pictures"), { subtree: true, attributes: true, attributeFilter: ["src"] })""")
    page.locator("summary").click()
    page.locator("#seed").fill("7")
    paint(page, "猫", 1)
    assert len(dict.fromkeys(seen)) >= 3
    first = page.locator("#pictures img").get_attribute("src")
    paint(page, "狗", 1)
    assert page.locator("#pictures img").get_attribute("src") != first
    paint(page, "猫", 1)
    assert page.locator("#pictures img").get_attribute("src") == first


def test_work_can_be_stopped(chinese: Opened, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    page = chinese.page
    monkeypatch.setattr(service.scheduler, "_join", lambda: None)  # nothing begins
    page.locator("#tab-paint").click()
    page.locator("#prompts button").first.click()
    page.locator("#panel-paint .stop:visible").click()
    page.locator("#paint-state", has_text="停下了").wait_for()
    assert page.locator("#pictures li").count() == 0


def test_nothing_sticks_out_and_language_and_light_can_be_switched(opened: Opened) -> None:
    page, wanted = opened.page, opened.viewer
    assert page.locator("html").get_attribute("lang") == opened.says("zh-CN", "en")
    assert page.locator("html").get_attribute("data-theme") == wanted.scheme
    for _ in range(2):
        for tab in TABS:
            page.locator(f"#tab-{tab}").click()
            assert page.locator(f"#panel-{tab}").is_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= wanted.width
            assert not re.search(r"\b[a-z]+_[a-z]+\b", page.locator("body").inner_text())  # the name of a text
        page.locator("#language").click()
    page.locator("#language").click()
    page.locator("#theme").click()
    page.reload()
    page.locator("#model:not(:empty)").wait_for(state="attached")
    assert page.locator("html").get_attribute("lang") == opened.says("en", "zh-CN")
    assert page.locator("html").get_attribute("data-theme") != wanted.scheme


def test_all_is_reached_by_keyboard_and_has_a_name(opened: Opened) -> None:
    page = opened.page
    choose_picture(page)
    page.locator("summary").click()
    page.locator("body").click(position={"x": 1, "y": 1})
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[0] == "skip"
    for name in ("language", "theme", "tab-look", "file", "describe", "question", "texts", "temperature", "key"):
        assert name in reached, name
    page.locator("#tab-look").focus()
    for tab in ("write", "paint", "gallery", "look"):
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        assert page.locator(f"#panel-{tab}").is_visible()
    paint(page, "猫", 1)
    session = page.context.new_cdp_session(page)
    for tab in TABS:
        page.locator(f"#tab-{tab}").click()
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "link", "textbox", "tab", "tablist", "tabpanel", "radio", "spinbutton", "image", "group"}
        named = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
        controls = [(role, name) for role, name in named if role in roles - {"group"}]
        assert len(controls) > 8
        assert all(name for _, name in controls), controls


def test_each_error_says_what_to_do(opened: Opened) -> None:
    page, notice = opened.page, opened.page.locator("#notice")
    page.locator("#file").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    assert opened.says("不是图片", "is no picture") in notice.inner_text()
    page.locator("#file").set_input_files({"name": "c.png", "mimeType": "image/png", "buffer": b"no picture"})
    page.locator("#describe:enabled").click()
    page.locator("#notice", has_text=opened.says("请换一张 PNG", "Choose another one: PNG")).wait_for()
    choose_picture(page)
    page.locator("#question").evaluate("field => { field.value = '字'.repeat(5000); }")
    page.locator("#ask button").click()
    page.locator("#notice", has_text=opened.says("5000，最多 4000", "5000, at most 4000")).wait_for()
    page.route("**/v1/chat/completions", lambda route: route.abort())
    page.locator("#describe").click()
    page.locator("#notice", has_text=opened.says("连不上服务器", "does not answer")).wait_for()
    page.unroute("**/v1/chat/completions")
    page.locator("#tab-paint").click()
    page.locator("#prompt").fill(" ")
    page.locator("#paint-form button.main").click()
    assert notice.inner_text() == opened.says("先写要画什么。", "Say first what to paint.")


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (400, {"message": "the picture has 9000 x 9000 pixels, at most 40000000 are read"}, "像素太多"),
        (400, {"message": "image_url: the picture is larger than 10 bytes; make it smaller"}, "文件太大"),
        (413, {"message": "the request is larger than 10 bytes", "code": "too_large"}, "发送的内容太大"),
        (503, {"message": "the server is closing"}, "服务器正在关闭"),
        (504, {"message": "it took longer", "code": "timeout"}, "超过了服务器允许的"),
        (400, {"message": "a rare one"}, "没有成功：a rare one"),
    ],
)
def test_errors_of_the_server_are_told_in_the_language_of_the_page(
    chinese: Opened, status: int, error: dict[str, str], said: str
) -> None:
    page = chinese.page
    page.route("**/v1/chat/completions", lambda route: route.fulfill(status=status, json={"error": error}))
    choose_picture(page)
    page.locator("#describe").click()
    page.locator("#notice", has_text=said).wait_for()
    page.locator("#language").click()
    assert not re.search("[一-鿿]", page.locator("#notice").inner_text())


def test_a_picture_that_is_too_large_is_not_sent(chinese: Opened, tmp_path: Path) -> None:
    page = chinese.page
    (tmp_path / "b.png").write_bytes(bytes(9 * 2**20))
    page.locator("#file").set_input_files(tmp_path / "b.png")
    assert "请选 8 MB 以内的图" in page.locator("#notice").inner_text()


def test_a_busy_server_is_asked_again(chinese: Opened) -> None:
    page, asked = chinese.page, []

    def busy_once(route: Any) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()
        else:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": {"message": "busy"}})

    page.route("**/v1/chat/completions", busy_once)
    choose_picture(page)
    page.locator("#describe").click()
    page.locator("#notice", has_text="排队的人多").wait_for()
    page.locator("#talk li .said:not(:empty)").wait_for()
    assert not page.locator("#notice").is_visible()


def test_a_key_is_asked_for(browser: Any, tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", api_key="secret", slots=2, text_slots=1)
    with served(service) as url:
        context = browser.new_context(locale="zh-CN")
        page = context.new_page()
        page.goto(url)
        page.locator("#notice", has_text="服务器要密钥").wait_for()
        assert page.evaluate("document.activeElement.id") == "key"
        page.keyboard.type("secret")
        page.keyboard.press("Tab")
        page.locator("#model:not(:empty)").wait_for(state="attached")
        assert not page.locator("#notice").is_visible()
        page.locator("#key").fill("wrong")
        page.keyboard.press("Tab")
        page.locator("#notice", has_text="服务器不认这个密钥").wait_for()
        context.close()
    service.close()


@pytest.mark.parametrize(("width", "height"), [(390, 844), (390, 667), (1280, 600)])
def test_nothing_is_scrolled_away_and_the_address_chooses_the_tab(
    browser: Any, url: str, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()
    for hash, tab in (("", "look"), ("#paint", "paint"), ("#write", "write")):
        page.goto("about:blank")
        for visit in (lambda hash=hash: page.goto(url + "/" + hash), page.reload):
            visit()
            page.locator("#model:not(:empty)").wait_for(state="attached")
            page.locator(f"#tab-{tab}[aria-selected=true]").wait_for()
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            assert page.evaluate("scrollY") == 0
    page.evaluate("location.hash = '#gallery'")
    page.locator("#panel-gallery:visible").wait_for()
    page.locator("#tab-paint").click()
    assert page.url.endswith("#paint")
    context.close()


def test_what_is_pressed_while_painting_takes_its_place(chinese: Opened, service: Service) -> None:
    page = chinese.page
    page.locator("#tab-paint").click()
    begin, service.scheduler._join = service.scheduler._join, lambda: None  # type: ignore[method-assign]
    page.locator("#prompts button").nth(0).click()
    page.locator("#pictures li.busy").first.wait_for()
    page.locator("#prompts button").nth(1).click()
    prompt = page.locator("#prompt").input_value()
    page.locator(f"#pictures li[data-prompt='{prompt}']").first.wait_for()
    page.wait_for_timeout(200)
    assert "正在画" in page.locator("#paint-state").inner_text()
    assert page.locator("#panel-paint .stop").is_visible()
    service.scheduler._join = begin  # type: ignore[method-assign]
    page.locator("#paint-state", has_text="画好了").wait_for()
    assert page.locator("#pictures .download:visible").count() == 4


def test_a_painting_that_fails_was_not_stopped(chinese: Opened) -> None:
    page = chinese.page
    page.route("**/v1/images/generations", lambda route: route.fulfill(status=400, json={"error": {"message": "no"}}))
    page.locator("#tab-paint").click()
    page.locator("#prompts button").first.click()
    page.locator("#notice", has_text="没有成功：no").wait_for()
    assert page.locator("#pictures li").count() == 0
    assert page.locator("#paint-state").inner_text() == ""


def test_what_was_said_changes_its_language_too(chinese: Opened) -> None:
    page = chinese.page
    paint(page, "猫", 1)
    page.locator("#pictures .keep").click()
    choose_picture(page)
    page.locator("#describe").click()
    page.locator("#talk li .said:not(:empty)").wait_for()
    page.locator("#tab-write").click()
    page.locator("#titles button").first.click()
    page.locator("#poem-about:not(:empty)").wait_for()
    page.locator("#language").click()
    assert "· seed " in page.locator("#poem-about").inner_text()
    page.locator("#tab-look").click()
    assert page.locator("#talk .asked").inner_text() == "The picture shows"
    page.locator("#tab-paint").click()
    seed = page.locator("#pictures li").get_attribute("data-seed")
    assert page.locator("#pictures .quiet").inner_text() == f"猫 · seed {seed}"
    assert page.locator("#pictures img").get_attribute("alt") == "Painting: 猫"
    assert page.locator("#paint-state").inner_text().startswith("Done in ")
    assert page.locator("#pictures .keep:disabled").inner_text() == "Kept"
    page.locator("#tab-gallery").click()
    assert page.locator("#kept-pictures .keep:enabled").inner_text() == "Remove"


def test_a_setting_out_of_its_range_is_not_taken_for_another(opened: Opened) -> None:
    page = opened.page
    page.locator("summary").click()
    page.locator("#count").fill("99")
    page.locator("#tab-paint").click()
    page.locator("#prompts button").first.click()
    wanted = opened.says("“一次画几张”可以填 1 到 16", "“Pictures at once” has to be from 1 to 16")
    assert page.locator("#notice").inner_text().startswith(wanted)
    assert page.locator("#pictures li").count() == 0
    assert page.evaluate("document.activeElement.id") == "count"


def test_a_poem_draws_its_seed_or_takes_the_one_that_is_set(chinese: Opened) -> None:
    page = chinese.page
    page.evaluate("Math.random = () => 0.4321")
    page.locator("#tab-write").click()
    page.locator("#titles button").first.click()
    page.locator("#poem-about", has_text="种子 4321").wait_for()
    page.locator("summary").click()
    page.locator("#seed").fill("77")
    page.locator("#titles button").first.click()
    page.locator("#poem-about", has_text="种子 77").wait_for()


@pytest.mark.parametrize("lines", [2, 40])
def test_a_poem_that_is_wider_than_its_sheet_says_so(opened: Opened, lines: int) -> None:
    page = opened.page
    piece = {"choices": [{"index": 0, "delta": {"content": "床前明月光，疑是地上霜。" * lines}}]}
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(content_type="text/event-stream", body=f"data: {json.dumps(piece)}\n\n"),
    )
    page.locator("#tab-write").click()
    page.locator("#titles button").first.click()
    page.locator("#poem-about:not(:empty)").wait_for()
    assert page.locator("#poem-more").is_visible() == (lines > 2)
