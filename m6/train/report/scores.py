"""The last sections: scores beside their baselines, what it cost, how to go on, and what it was made with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from m6.run import duration
from m6.train.report.elements import Content, Html, both, chinese, element, note, section, table
from m6.train.report.material import Material

# What the scores are called; a key that is not here is shown by itself.
NAMES = {
    "text_to_image.right_seen": both("painting is the right picture", "画的正是那幅图"),
    "text_to_image.titled_seen": both("painted from the name alone", "只凭名称画出"),
    "caption.exact_seen": both("caption exact", "描述全对"),
    "caption.keyword_f1_seen": both("keywords, F1", "关键词 F1"),
    "scene.caption_exact_seen": both("scene: caption exact", "场景：描述全对"),
    "matching.accuracy_seen": both("matching", "图文相配"),
    "matching.yes_no_seen": both("matching, said as 是 or 否", "图文相配，以是否作答"),
    "vqa.accuracy_seen": both("answers", "答问"),
    "poem.copied_rate": both("poem lines that stand in the training set", "诗句见于训练集"),
    "scene.caption_exact_heldout": both("scene: caption exact", "场景：描述全对"),
    "scene.vqa_accuracy_heldout": both("scene: answers", "场景：答问"),
    "scene.matching_heldout": both("scene: matching", "场景：图文相配"),
    "scene.matching_yes_no_heldout": both("scene: matching, said as 是 or 否", "场景：图文相配，以是否作答"),
    "scene.paint_right_heldout": both("scene: painting right", "场景：画对"),
    "scene.colour_heldout": both("scene, unseen colours: caption exact", "场景，未见过的颜色：描述全对"),
    "scene.count_heldout": both("scene, unseen numbers: caption exact", "场景，未见过的数目：描述全对"),
    "scene.paint_colour_heldout": both("scene, unseen colours: painting right", "场景，未见过的颜色：画对"),
    "scene.paint_count_heldout": both("scene, unseen numbers: painting right", "场景，未见过的数目：画对"),
    "scene.filled_right_heldout": both("scene: hidden half painted right", "场景：补画遮住的一半，画对"),
    "scene.chosen_right_heldout": both("scene: painting right, chosen by the model", "场景：画对，由模型挑选"),
    "scene.chosen_colour_heldout": both("the same, unseen colours", "同上，未见过的颜色"),
    "scene.chosen_count_heldout": both("the same, unseen numbers", "同上，未见过的数目"),
    "scene.judge_accuracy": both("the judge itself, on real scenes", "判者自身，真实场景"),
    "caption.exact_heldout": both("unseen things: caption exact", "未见事物：描述全对"),
    "caption.keyword_f1_heldout": both("unseen things: keywords, F1", "未见事物：关键词 F1"),
    "matching.accuracy_heldout": both("unseen things: matching", "未见事物：图文相配"),
    "matching.yes_no_heldout": both("unseen things: matching, said as 是 or 否", "未见事物：图文相配，以是否作答"),
    "vqa.accuracy_heldout": both("unseen things: answers", "未见事物：答问"),
    "text_to_image.round_trip_heldout": both(
        "unseen things: its own painting told among ten", "未见事物：自画自认，十中择一"
    ),
    "poem.form_rate": both("poems that keep their form", "诗合其体"),
    "poem.form_rate_free": both("the same, without the decoder's help", "诗合其体，解码不加约束"),
    "poem.bits_per_char_heldout": both("poems of unseen poets, lower is better", "未见诗人之诗，越低越好"),
    "vq.psnr_heldout": both("reconstruction of unseen pictures", "未见之图的还原"),
    "vq.psnr_train": both("reconstruction of training pictures", "训练图的还原"),
    "vq.codebook_used": both("code book in use", "码本使用"),
}
_KINDS = {
    "what": both("what is it", "是什么"), "where": both("where is it", "在哪边"), "count": both("how many", "有几个"),
    "colour": both("which colour", "什么颜色"), "category": both("which category", "哪一类"),
    "yes_no": both("yes or no", "是与否"),
}  # fmt: skip
_ASKED = {
    "vqa.{}_seen": both("", ""),
    "scene.vqa_{}_heldout": both("scene: ", "场景："),
    "vqa.{}_heldout": both("unseen things: ", "未见事物："),
}
NAMES |= {key.format(kind): Html(about + name) for key, about in _ASKED.items() for kind, name in _KINDS.items()}
UNITS = {"psnr": "dB", "bits_per_char": "bits"}  # by part of a key; all else is a share
NO_SCORES = ("seconds.", "peak_rss_gib", "tokens", "corpus.", "parameters", "vocabulary", "resumed.")
ABOUT_SCORES = (".baseline", ".low", ".high")
MEMORY = ("poem.copied_rate", "vq.psnr_train")  # beside the keys that end in _seen


def spell(seconds: float) -> Html:
    """A duration in words."""
    english = duration(seconds)
    return both(english, english.replace(" h", " 小时").replace(" min", " 分").replace(" s", " 秒"))


def percent(share: float) -> str:
    """A share as people say it."""
    return f"{100 * share:.1f} %" if 0.99 < share < 1 or 0 < share < 0.1 else f"{100 * share:.0f} %"


def scores(material: Material) -> Html:
    """Every score beside its baseline, memory apart from generalisation."""
    keys = [
        key
        for key, value in material.results.items()
        if isinstance(value, int | float) and not key.startswith(NO_SCORES) and not key.endswith(ABOUT_SCORES)
    ]
    order = list(NAMES)
    keys.sort(key=lambda key: order.index(key) if key in order else len(order))
    seen = [key for key in keys if key.endswith("_seen") or key in MEMORY]
    new = [key for key in keys if "_heldout" in key and key not in seen]
    other = [key for key in keys if key not in seen and key not in new]
    blocks = (
        (both("Memory: what it has seen", "记忆：见过的"), seen),
        (both("Generalisation: what it has not seen", "泛化：没见过的"), new),
        (both("Neither of the two", "两者之外"), other),
    )
    return section(
        "scores",
        both("Scores", "评分"),
        both(
            "Each beside its trivial baseline: the most frequent answer, the nearest picture in pixels, the frequency"
            " of characters. In the bars the baseline is the upright line. Small figures: the 95\u00a0% bootstrap"
            " interval. Scenes are real pictures in a synthetic layout.",
            "每项与最简单的基线并列：最常见的答案、像素上最近的图、字频。条中竖线为基线；小字为自助法 95 % 区间。"
            "场景是真实图片、合成布局。",
        ),
        [_scores(material.results, title, chosen) for title, chosen in blocks if chosen]
        or note("Nothing was measured in this run.", "本次运行未作测量。"),
    )


def _scores(results: dict[str, Any], title: Html, keys: list[str]) -> Html:
    head: list[Content] = [
        both("score", "项目"),
        both("model", "模型"),
        both("baseline", "基线"),
        both("difference, points", "相差，百分点"),
        "",
    ]
    return table(title, head, [_score(results, key) for key in keys], class_="scores")


def _score(results: dict[str, Any], key: str) -> list[Content]:
    value, base = results[key], results.get(f"{key}.baseline")
    unit = next((unit for part, unit in UNITS.items() if part in key), None)
    if unit is None and not 0 <= value <= 1:
        unit = ""

    def shown(number: float) -> str:
        return percent(number) if unit is None else f"{number:.2f} {unit}".strip()

    gap = ""
    if base is not None:
        gap = f"{100 * (value - base):+.1f}" if unit is None else f"{value - base:+.2f} {unit}".strip()
    name = element("span", NAMES.get(key, ""), element("code", key))
    bar = _bar(value, base) if unit is None else ""
    low, high = results.get(f"{key}.low"), results.get(f"{key}.high")
    bounds = None if low is None or high is None else f" {shown(low).removesuffix(' %')}–{shown(high)}"
    return [
        name,
        [element("b", shown(value)), element("small", bounds)],
        "–" if base is None else shown(base),
        gap.replace("-", "−"),
        bar,
    ]


def _bar(value: float, base: float | None) -> Html:
    tick = None if base is None else element("u", style=f"left:{100 * base:.1f}%")
    return element("span", element("i", style=f"width:{100 * value:.1f}%"), tick, class_="bar", aria_hidden="true")


def costs(material: Material) -> Html:
    """Seconds, speed and memory of each stage."""
    titles = {
        "corpus": both("corpus", "语料"),
        "tokenizer": both("vocabulary", "词表"),
        "vqgan": both("image tokenizer", "图像分词器"),
        "pretrain": both("pretraining", "预训练"),
        "evaluate": both("evaluation", "评测"),
    }
    rows: list[list[Content]] = []
    for name, done in material.stages.items():
        speed: Content = ""
        if done.get("tokens_per_second") is not None:
            speed = both(f"{done['tokens_per_second']:,.0f} tokens/s", f"{done['tokens_per_second']:,.0f} 词元／秒")
        elif done.get("pictures_per_second") is not None:
            speed = both(f"{done['pictures_per_second']:,.0f} pictures/s", f"{done['pictures_per_second']:,.0f} 图／秒")
        again = element("small", both(" since it was resumed", "（自续跑起）")) if done.get("resumed") else None
        seconds: Content = [f"{done['seconds']:,.1f} s", again]
        rows.append([titles[name], seconds, speed, f"{done['peak_rss_gib']:.2f} GiB"])
    if not rows:
        return section("costs", both("What it cost", "所费"), note("No stage has ended.", "尚无一步完成。"))
    total = sum(done["seconds"] for done in material.stages.values())
    peak = max(done["peak_rss_gib"] for done in material.stages.values())
    rows.append([both("together", "合计"), f"{total:,.1f} s", "", f"{peak:.2f} GiB"])
    head: list[Content] = [
        both("stage", "步骤"),
        both("time", "用时"),
        both("speed", "速度"),
        both("peak memory", "内存峰值"),
    ]
    return section(
        "costs",
        both("What it cost", "所费"),
        [
            spell(total),
            both(f" in all, at most {peak:.1f} GiB of memory.", f"，内存至多 {peak:.1f} GiB。"),
        ],
        table(both("By stage", "按步骤"), head, rows, class_="costs"),
    )


def go_on(material: Material) -> Html:
    """Commands to paste."""
    here = Path.cwd()
    folder = material.folder.relative_to(here) if material.folder.is_relative_to(here) else material.folder
    run = shlex.quote(str(folder))
    paintings, pictures = material.of("paintings", "composed"), material.of("captions", "heldout", "seen")
    prompt = shlex.quote(paintings[0]["prompt"] if paintings else "红苹果")
    shown = folder / "evaluate" / "pictures" / Path(pictures[0]["picture"]).name if pictures else "apple.png"
    image = shlex.quote(str(shown))
    commands: list[tuple[Html, str]] = [
        (both("paint", "作画"), f"m6 generate paint --run {run} --prompt {prompt} --output painting.png"),
        (both("say what is in a picture", "看图描述"), f"m6 generate caption --run {run} --image {image}"),
        (both("ask about it", "看图问答"), f"m6 generate answer --run {run} --image {image} --question 这是什么？"),
        (both("write a poem", "作诗"), f"m6 generate poem --run {run} --title 春晓 --form 五言绝句"),
        (both("train longer, by estimate one to two hours", "训练更久，估计一到两小时"), "m6 quickstart long"),
        (both("start from a recipe of your own", "用自己的配方"), "m6 quickstart my_recipe.py --out runs/mine"),
    ]
    items = [element("li", element("span", label), element("pre", element("code", text))) for label, text in commands]
    return section(
        "next",
        both("Go on from here", "由此前行"),
        both("The trained run stands in its folder; ask it.", "训练好的模型就在运行目录里，可以问它。"),
        element("ul", items, class_="commands"),
    )


def settings(material: Material) -> Html:
    """The resolved recipe and the versions."""
    config = json.dumps(material.config, indent=2, ensure_ascii=False)
    rows: list[list[Content]] = [[name, version] for name, version in material.versions.items()]
    versions = table(both("Versions", "版本"), [both("part", "组件"), both("version", "版本")], rows) if rows else None
    recipe = element(
        "details",
        element("summary", both("The whole recipe of this run", "本次运行的完整配方")),
        element("pre", chinese(config, "code"), tabindex="0"),
    )
    return section(
        "settings",
        both("How it was made", "何以成之"),
        both("The same recipe, seed and versions give the same weights.", "同样的配方、种子与版本，得到同样的权重。"),
        recipe if material.config else note("The recipe is not here.", "没有配方。"),
        versions or note("The versions are not here.", "没有版本记录。"),
    )
