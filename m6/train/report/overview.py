"""The first sections: what this is in figures, the first paintings, the way of the data, the corpus, both trainings."""

from __future__ import annotations

import math
from typing import Any

from m6.train.report.elements import Content, Html, both, chinese, element, note, section, table
from m6.train.report.examples import gallery, reconstructions, spread
from m6.train.report.material import Material
from m6.train.report.plots import Curve, line_chart
from m6.train.report.scores import percent, spell

OBJECTIVES = {
    "language_modelling": both("language modelling", "语言建模"),
    "text_denoising": both("text denoising", "文本去噪"),
    "captioning": both("captioning", "看图描述"),
    "image_denoising": both("denoising with a picture", "看图补字"),
    "visual_question_answering": both("questions about a picture", "看图问答"),
    "matching": both("matching", "图文匹配"),
    "poem": both("poems", "作诗"),
    "text_to_image": both("painting", "依文作画"),
}
SOURCES = {"emoji": both("emoji", "表情图"), "poems": both("poems", "古诗"), "scenes": both("scenes", "场景")}
MODALITIES = {"image and text": both("picture and text", "图文"), "plain text": both("text", "纯文本")}
REASONS = {"exact duplicate": both("exact duplicate", "完全重复"), "near duplicate": both("near duplicate", "近似重复")}


def headline(material: Material) -> Html:
    """One sentence, a few big figures, and the line between memory and generalisation."""
    corpus, results = material.corpus, material.results
    seconds = results.get("seconds.total") or sum(done["seconds"] for done in material.stages.values())
    speed = results.get("tokens_per_second") or material.figure("pretrain", "tokens_per_second")
    composed = _passages(corpus, "scenes")
    figures = [
        (_number(corpus.get("pairs", 0) - (composed or 0) or None), both("real pictures with words", "幅真实的图与文")),
        (_number(composed), both("composed scenes", "幅合成布局的场景")),
        (_number(_passages(corpus, "poems")), both("classical poems", "首古诗")),
        (_number(material.figure("pretrain", "parameters")), both("parameters", "个参数")),
        (_number(speed), both("tokens a second", "词元／秒")),
        (spell(seconds) if seconds else None, both("from raw data to this page", "从原始数据到本页")),
    ]
    return element(
        "header",
        element(
            "div",
            element("p", "Open M6", class_="name"),
            element(
                "h1",
                both(
                    "A small model that reads pictures, writes poems, and paints.", "一个会看画、会作诗、会作画的小模型"
                ),
            ),
            element(
                "p",
                both(
                    "One transformer with one vocabulary for Chinese text and for pictures, trained from nothing on the"
                    " machine named at the end of this page. All that follows came out of this one run.",
                    "一个变换器，一张词表，文字与图画同用；从零训起，所用机器见本页末。以下种种，皆出自这一次运行。",
                ),
                class_="lead",
            ),
            class_="title",
        ),
        element(
            "div",
            element(
                "div",
                chinese("诗中有画，画中有诗。", "p", class_="epigraph"),
                chinese("多模", "p", class_="seal", aria_hidden="true"),
            ),
            element(
                "p", both("In the poem a painting, in the painting a poem. After Su Shi", "语出苏轼"), class_="source"
            ),
            class_="motto",
        ),
        element("dl", (_big(value, label) for value, label in figures if value), class_="figures"),
        _two_kinds(results),
        id="top",
    )


def _big(value: Content, label: Content) -> Html:
    return element("div", element("dt", label), element("dd", value))


def _two_kinds(results: dict[str, Any]) -> Html:
    """What is memory and what is generalisation, in the fewest words."""
    seen = [
        ("text_to_image.right_seen", both("paintings that are the right picture", "画得正是那幅图")),
        ("caption.exact_seen", both("captions exact", "描述一字不差")),
    ]
    new = [
        ("scene.paint_right_heldout", both("paintings right, of combinations it never saw", "未见过的组合，画对")),
        ("scene.caption_exact_heldout", both("captions exact, of combinations it never saw", "未见过的组合，描述全对")),
        ("caption.exact_heldout", both("captions exact, of things it never saw", "未见过的事物，描述全对")),
    ]

    def line(keys: list[tuple[str, Html]]) -> Content:
        found = [(percent(results[key]), label) for key, label in keys if results.get(key) is not None]
        if not found:
            return note("Not measured in this run.", "本次运行未作测量。")
        return element("ul", (element("li", element("b", value), " ", label) for value, label in found))

    return element(
        "div",
        element("div", element("h2", both("Memory: what it has seen", "记忆：见过的")), line(seen)),
        element("div", element("h2", both("Generalisation: what it has not", "泛化：没见过的")), line(new)),
        class_="kinds",
    )


def first_impressions(material: Material) -> Html:
    """Painted scenes of combinations that training never showed."""
    paintings = material.of("paintings", "composed")
    right = spread([example for example in paintings if example["right"]])
    chosen = (right + spread([example for example in paintings if not example["right"]]))[:8]
    title = both("Painted from words", "依文作画")
    if not paintings:
        return section(
            "gallery", title, note("No painting of an unseen combination is here.", "没有未见过的组合之画。")
        )
    return section(
        "gallery",
        title,
        both(
            f"Combinations that training never showed. Chosen: what the judge called right comes first, {len(right)} of"
            f" {len(paintings)} examples; the others, and the failures, are further below. Real pictures in a synthetic"
            " layout taught it what such a scene is.",
            "皆为训练时从未出现的组合。此处有所挑选："
            f"判为画对者在前（{len(paintings)} 例中 {len(right)} 例），其余与败笔见后。"
            "教它的场景是真实图片、合成布局。",
        ),
        gallery(material, chosen),
    )


def way_of_data(material: Material) -> Html:
    """A small diagram: one value type a stage."""
    corpus, stages = material.corpus, material.stages
    vocabulary, tokens = material.figure("pretrain", "vocabulary"), material.figure("pretrain", "tokens")
    steps: list[tuple[Content, Content]] = [
        (both("Raw files", "原始数据"), _counted(corpus.get("read"), "records", "条记录")),
        ("Document", _counted(corpus.get("kept"), "kept", "条留下")),
        ("Shard", both("Parquet, checked", "Parquet，有校验")),
        ("Sample", _counted(len(_objectives(material)) or None, "objectives", "种目标")),
        ("Batch", _counted(tokens, "tokens packed", "个词元，紧排")),
        (both("Model", "模型"), _counted(material.figure("pretrain", "parameters"), "parameters", "个参数")),
        (both("Answers, pictures", "答语与画"), both("this page", "即本页")),
    ]
    side: list[tuple[Content, Content]] = [
        (both("Pictures", "图画"), _counted(corpus.get("pairs"), "pictures", "幅")),
        (
            both("Image tokenizer", "图像分词器"),
            _counted(stages.get("vqgan", {}).get("parameters"), "parameters", "个参数"),
        ),
        (both("Codes", "图像码"), both("a grid of integers", "一格一个整数")),
        (
            both("One vocabulary", "同一张词表"),
            _counted(vocabulary, "entries: text, then codes", "项：先文字，后图像码"),
        ),
    ]
    return section(
        "way",
        both("The way of the data", "数据之路"),
        both(
            "Every stage reads one kind of value and hands on the next. Pictures become integers in the same vocabulary"
            " as the text, so that one model with one mask rule reads, writes and paints.",
            "每一步只读一种值，交出下一种。图画化为整数，与文字同在一张词表；于是一个模型、一条掩码规则，能读、能写、能画。",
        ),
        _flow(steps, "flow"),
        _flow(side, "flow side"),
    )


def _flow(steps: list[tuple[Content, Content]], style: str) -> Html:
    return element(
        "ol", (element("li", element("b", name), element("span", detail)) for name, detail in steps), class_=style
    )


def corpus(material: Material) -> Html:
    """The corpus by source, and what was dropped for which reason."""
    report = material.corpus
    title = both("The corpus", "语料")
    if not report:
        return section("corpus", title, note("The corpus of this run left no report.", "本次运行的语料没有留下报告。"))
    head: list[Content] = [
        both("source", "来源"), both("kind", "类别"), both("passages", "条"), both("held out", "留作测试"),
        both("pictures", "图"), both("characters", "字"), both("picture MB", "图 MB"), both("text MB", "文 MB"),
    ]  # fmt: skip
    names = ("passages", "heldout", "images", "characters")
    rows: list[list[Content]] = [
        [
            SOURCES.get(row["source"], row["source"]),
            MODALITIES.get(row["modality"], row["modality"]),
            *(f"{row[name]:,}" for name in names),
            *(f"{row[name] / 1e6:.1f}" for name in ("image_bytes", "text_bytes")),
        ]
        for row in report["sources"]
    ]
    drops: list[list[Content]] = [
        [
            REASONS.get(row["reason"], row["reason"]),
            SOURCES.get(row["source"], row["source"]),
            f"{row['count']:,}",
            chinese((row["samples"][0]["text"] or row["samples"][0]["where"])[:60]) if row["samples"] else "",
        ]
        for row in report["drops_by_source"]
    ]
    drop_head: list[Content] = [
        both("reason", "缘由"),
        both("source", "来源"),
        both("count", "条"),
        both("such as", "例如"),
    ]
    dropped = (
        table(both("What was dropped, and why", "舍去的，与缘由"), drop_head, drops)
        if drops
        else note("Nothing was dropped.", "无一条舍去。")
    )
    return section(
        "corpus",
        title,
        both(
            f"{report['read']:,} records were read, {report['kept']:,} kept. Scenes, where there are any, are real"
            " pictures in a synthetic layout, with captions that are exact by construction.",
            f"读入 {report['read']:,} 条，留下 {report['kept']:,} 条。"
            "其中若有场景，皆为真实图片、合成布局，描述由构造而来，分毫不差。",
        ),
        table(both("By source", "按来源"), head, rows),
        dropped,
    )


def image_tokenizer(material: Material) -> Html:
    """Originals beside what the code keeps of them, and how that grew."""
    rows = material.metrics["vqgan"]
    points = [(row["step"], row["psnr"]) for row in rows if row.get("psnr") is not None]
    held, used = material.figure("vqgan", "psnr_heldout"), material.figure("vqgan", "codebook_used")
    lead: Content = both(
        "A picture goes in as pixels and comes back from a few integers. What is lost here, no painting can have.",
        "一幅图化为若干整数，再还原成图。此处所失，作画时便无从得来。",
    )
    if held is not None and used is not None:
        lead = [
            lead,
            both(f" Held-out pictures: {held:.1f} dB; {percent(used)} of the code book is used.",
                 f"未见过的图：{held:.1f} dB；码本用到 {percent(used)}。"),
        ]  # fmt: skip
    curve = (
        line_chart(
            [Curve(both("training pictures", "训练图"), points)],
            both("Fidelity of the reconstruction over training; higher is better", "训练中还原的逼真度，越高越好"),
            both("step", "步"),
            both("PSNR, dB", "PSNR，dB"),
            level=None if held is None else (held, both("held-out pictures, at the end", "未见过的图，训练结束时")),
        )
        if points
        else note("No metrics of this training are here.", "没有这段训练的记录。")
    )
    return section("tokenizer", both("Pictures as codes", "以码为画"), lead, reconstructions(material), curve)


def pretraining(material: Material) -> Html:
    """The loss of every objective."""
    rows = material.metrics["pretrain"]
    curves = []
    for name in _objectives(material):
        points = [(row["step"], row[f"loss/{name}"]) for row in rows if row.get(f"loss/{name}")]  # a log axis has no 0
        curves.append(Curve(OBJECTIVES.get(name, Html(element("span", name))), points))
    vocabulary = material.figure("pretrain", "vocabulary")
    chart = (
        line_chart(
            curves,
            both("Loss of each objective over training; lower is better", "各目标的损失，越低越好"),
            both("step", "步"),
            both("nats per token, log scale", "每词元纳特，对数轴"),
            log=True,
            level=(math.log(vocabulary), both("a blind guess, ln V", "盲猜，ln V")) if vocabulary else None,
        )
        if any(curve.points for curve in curves)
        else note("No metrics of this training are here.", "没有这段训练的记录。")
    )
    return section(
        "pretraining",
        both("Learning everything at once", "诸艺同修"),
        both(
            "All objectives are samples of one form, prefix and target, packed side by side in the same batch.",
            "所有目标都是同一种样本：前文与目标，并排装进同一批。",
        ),
        chart,
    )


def _objectives(material: Material) -> list[str]:
    """The objectives that have a loss in the metrics, in the order of the table above."""
    logged = {name for row in material.metrics["pretrain"] for name in row}
    found = {name.removeprefix("loss/") for name in logged if name.startswith("loss/")}
    known = [name for name in OBJECTIVES if name in found]
    return known + sorted(found - set(known))


def _passages(corpus: dict[str, Any], source: str) -> int | None:
    counts = [row["passages"] for row in corpus.get("sources", []) if row["source"] == source]
    return sum(counts) or None


def _counted(value: float | None, english: str, chinese: str) -> Html | None:
    if value is None:
        return None
    return both(f"{_number(value)} {english}", f"{_number(value)} {chinese}")


def _number(value: float | None) -> str | None:
    """Numbers with commas, and millions in short."""
    if value is None:
        return None
    return f"{value / 1e6:.1f} M" if value >= 1e6 else f"{value:,.0f}"
