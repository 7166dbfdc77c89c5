"""What the page offers beside the model of the package: its examples, questions and prompts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from m6.corpus.config import ScenesConfig
from m6.corpus.sources.scenes import HUES, THINGS, dyeable
from m6.corpus.starter import emoji_rows
from m6.recipes import quickstart
from m6.serve.config import ServeConfig
from m6.serve.service import Service
from m6.shipped import DEFAULT, SHIPPED
from tests.unit.serve.small_service import served

pytestmark = pytest.mark.xdist_group("browser")


def test_what_is_offered_is_what_mini_has_learnt(browser: Any) -> None:
    """The examples are read right, and questions and prompts have wordings of its training."""
    service = Service(SHIPPED[DEFAULT], ServeConfig().override({"slots": 8, "text_slots": 2}))
    shown = {"两样东西（拼成的图）": "左边是企鹅，右边是西瓜", "三样东西（拼成的图）": "三个草莓", "汽车": "汽车"}
    answers = {
        "左边是什么？": "企鹅", "右边是什么？": "西瓜", "西瓜在哪边？": "右边", "有几个企鹅？": "一个",
        "有几个草莓？": "三个", "有几个西瓜？": "没有", "这是什么？": "汽车",
        "主要是什么颜色？": "红色",
    }  # fmt: skip
    with served(service) as url:
        context = browser.new_context(locale="zh-CN")
        page = context.new_page()
        page.goto(url)
        for name, caption in shown.items():
            page.get_by_role("button", name=name, exact=True).click()
            page.locator("#describe:enabled").click()
            page.locator("#talk li:first-child .said", has_text=caption).wait_for()
            for question in page.locator("#questions button").all():
                question.click()
                asked = page.locator("#talk li", has_text=question.inner_text())
                asked.locator(".said", has_text=re.compile(f"^{answers[question.inner_text()]}$")).wait_for()
        prompts = page.locator("#prompts button").all_text_contents()
        context.close()
    service.close()
    thing = f"(?:{'|'.join(THINGS)}|(?:{'|'.join(HUES)})的(?:{'|'.join(dyeable(ScenesConfig()))}))"
    wordings = f"左边是{thing}，右边是{thing}|上面是{thing}，下面是{thing}|[一两三四]个{thing}|{thing}"
    names = {row["name"] for row in emoji_rows() if row["split"] == "train" and row["category"] in quickstart.THINGS}
    assert len(set(prompts)) == 5
    assert all(prompt in names or re.fullmatch(wordings, prompt) for prompt in prompts)
