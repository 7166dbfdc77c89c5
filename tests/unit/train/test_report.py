"""The report page on a small run folder of real pictures: whole, self-contained, escaped, and tolerant of gaps."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter

from m6.corpus.config import CorpusConfig, PoemsConfig, ScenesConfig
from m6.corpus.document import Document
from m6.corpus.sources import Part, emoji, poems, scenes
from m6.recipes.recipe import Recipe
from m6.run import Run, versions
from m6.train import report
from m6.train.report.elements import element
from m6.train.report.plots import line_chart, log_ticks, thinned, ticks
from m6.train.report.scores import sorted_scores

HOSTILE = "</style><script>alert('图')</script>\"><img src=http://example.com/x.png onerror=alert(1)>&amp;\ud800"
VOID = {"img", "input", "meta", "br", "hr"}
SECTIONS = (
    *("top", "gallery", "way", "corpus", "tokenizer", "pretraining", "paintings", "captions", "questions"),
    *("matching", "poems", "scores", "failures", "costs", "next", "settings"),
)


def things(number: int) -> dict[str, list[Document]]:
    """Real Documents by source and split."""
    config = CorpusConfig(poems=PoemsConfig(most=number), scenes=ScenesConfig(train=number, heldout=number))

    def some(source: Any, part: Part) -> list[Document]:
        return [document for document in source.read(config, part, 0) if isinstance(document, dict)]

    return {
        "emoji": some(emoji, emoji.parts(config)[0])[:number],
        "poems": some(poems, poems.parts(config)[0])[:number],
        "scenes": some(scenes, Part("scenes", 0, number, "heldout")),
    }


def make_run(folder: Path, number: int = 3) -> Run:
    """A run folder as the stages leave one, with `number` examples of each kind."""
    documents = things(number)
    pictures = folder / "evaluate" / "pictures"
    pictures.mkdir(parents=True)

    def keep(document: Document, blurred: float = 0) -> str:
        name = f"{document['id']}-{blurred:g}.png"
        picture = Image.open(io.BytesIO(document["images"][0]["bytes"])).convert("RGB")
        picture.filter(ImageFilter.GaussianBlur(blurred)).save(pictures / name)
        return f"pictures/{name}"

    def shown(document: Document, index: int, split: str, written: str | None = None) -> dict[str, Any]:
        true = document["text"]
        text = true if index % 3 else "左边是火箭，右边是梨"
        return {"picture": keep(document), "written": written or text, "true": true, "split": split,
                "source": document["source"], "right": bool(index % 3)}  # fmt: skip

    groups = [(d, i, split) for split, source in (("seen", "emoji"), ("heldout", "scenes"))
              for i, d in enumerate(documents[source])]  # fmt: skip
    examples: dict[str, list[dict[str, Any]]] = {
        "captions": [shown(*group) for group in groups],
        "questions": [
            {**shown(*group), "question": question["question"], "true": question["answer"],
             "written": question["answer"] if group[1] % 3 else "三个", "kind": question["kind"]}
            for group in groups for question in group[0]["questions"][:1]
        ],
        "poems": [
            {"title": d["title"], "form": d["attributes"]["form"], "author": d["attributes"]["author"],
             "written": d["text"], "true": d["text"], "split": "heldout"} for d in documents["poems"]
        ],
        "paintings": [
            {"prompt": d["text"], "picture": keep(d, 1), "reference": keep(d), "split": split, "right": bool(i % 3)}
            for split, source in (("seen", "emoji"), ("heldout", "emoji"), ("composed", "scenes"))
            for i, d in enumerate(documents[source])
        ],
        "reconstructions": [
            {"picture": keep(d), "restored": keep(d, 1), "split": split, "source": d["source"], "psnr": 23.5}
            for d, _, split in groups
        ],
        "matching": [
            {"picture": keep(d), "texts": [d["text"], "左边是梨，右边是火箭"], "chosen": int(i % 3 == 0), "true": 0,
             "split": split, "source": d["source"]} for d, i, split in groups
        ],
    }  # fmt: skip
    put(folder / "evaluate" / "examples.json", examples)
    put(folder / "evaluate" / "scores.json", SCORES)
    put(folder / "evaluate" / "done.json", {"seconds": 61.2, "peak_rss_gib": 1.4})
    put(folder / "corpus" / "report.json", CORPUS)
    put(folder / "corpus" / "done.json", {"seconds": 30.1, "peak_rss_gib": 0.9, "pairs": 14800, "texts": 10000})
    put(folder / "tokenizer" / "done.json", {"seconds": 2.5, "peak_rss_gib": 0.3})
    quality = {"psnr_heldout": 23.2, "psnr_train": 24.9, "codebook_used": 0.991, "parameters": 480_000}
    put(folder / "vqgan" / "done.json", {"seconds": 180.0, "peak_rss_gib": 1.1, "pictures_per_second": 310.5, **quality})
    figures = {"parameters": 2_480_000, "vocabulary": 3604, "tokens": 5_400_000, "tokens_per_second": 12345.6}
    put(folder / "pretrain" / "done.json", {"seconds": 540.0, "peak_rss_gib": 2.0, "resumed": True, **figures})
    steps = range(10, 710, 10)
    vq = [{"step": s, "loss": 0.3, "psnr": 23 - 200 / (s + 10), "tokens_per_second": 300.0} for s in steps]
    losses = {"captioning": 2.0, "poem": 5.0, "text_to_image": 3.0, "matching": 0.7}
    rows = [
        {"step": s, "loss": 3.0, **{f"loss/{name}": 8.0 / (1 + s / 40) + low for name, low in losses.items()}}
        for s in steps
    ]
    rows[3]["loss/poem"] = None  # type: ignore[assignment]  # what a non-finite number becomes
    for name, lines in (("vqgan", vq), ("pretrain", rows)):
        (folder / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    Recipe.write(Recipe(), folder / "config.json")
    put(folder / "versions.json", versions())
    return Run(folder, Recipe())


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


SCORES = {
    "caption.exact_seen": 0.93, "caption.exact_seen.low": 0.9, "caption.exact_seen.high": 0.95,
    "caption.exact_seen.baseline": 0.02, "text_to_image.right_seen": 0.9, "poem.copied_rate": 0.05,
    "matching.accuracy_seen": 0.99, "scene.caption_exact_heldout": 0.91, "scene.caption_exact_heldout.low": 0.87,
    "scene.caption_exact_heldout.high": 0.94, "scene.caption_exact_heldout.baseline": 0.0,
    "scene.paint_right_heldout": 0.81, "scene.paint_right_heldout.baseline": 0.1, "scene.judge_accuracy": 0.97,
    "scene.vqa_where_heldout": 0.97, "scene.vqa_where_heldout.baseline": 0.4, "caption.exact_heldout": 0.03,
    "matching.accuracy_heldout": 0.66, "matching.accuracy_heldout.baseline": 0.5, "poem.bits_per_char_heldout": 6.5,
    "poem.bits_per_char_heldout.baseline": 9.1, "poem.form_rate": 1.0, "poem.form_rate.baseline": 0.0,
}  # fmt: skip
CORPUS = {
    "read": 25000, "kept": 24800, "pairs": 14800, "texts": 10000, "heldout": 1900, "drops": {"near duplicate": 150},
    "sources": [
        {"source": source, "modality": modality, "passages": count, "heldout": held, "images": count if text == 0 else 0,
         "characters": count * 12, "image_bytes": 0 if text else count * 4000, "text_bytes": count * 36}
        for source, modality, count, held, text in (
            ("emoji", "image and text", 2200, 300, 0), ("poems", "plain text", 10000, 1000, 1),
            ("scenes", "image and text", 12600, 600, 0))
    ],
    "drops_by_source": [{"source": "poems", "reason": "near duplicate", "count": 150,
                         "samples": [{"where": "poems 17", "text": "床前明月光"}]}],
}  # fmt: skip


class Page(HTMLParser):
    """Checks that tags nest, and keeps what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything, and its report."""
    run = make_run(tmp_path_factory.mktemp("run") / "r")
    report.write(run)
    return run.folder


def read(folder: Path) -> tuple[str, Page]:
    text = (folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_every_section_is_there_with_its_content(whole: Path) -> None:
    text, page = read(whole)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [name for name in SECTIONS if name not in ids] == []
    assert 'class="note"' not in text, "a note about something missing, in a run that has all"
    for words in ("93 %", "81 %", "2.5 M", "12,346", "23.2 dB", "12,600", "poems 17", "m6 generate paint --run"):
        assert words in page.words, words
    assert page.words.count("真实图片，合成布局") >= 4
    assert json.loads((whole / "results.json").read_text())["caption.exact_seen"] == 0.93


def test_both_languages_say_everything(whole: Path) -> None:
    text, _ = read(whole)
    assert text.count('<span class="en" lang="en">') == text.count('<span class="zh" lang="zh-Hans">') > 100


def test_nothing_is_loaded_from_outside(whole: Path) -> None:
    text, page = read(whole)
    assert not {"link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "xlink:href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, value)
    assert "url(" not in text
    assert "@import" not in text
    assert not re.search(r"https?://", text)
    assert len([a for a in page.named("script")]) == 1


def test_pictures_tables_and_plots_can_be_read_aloud(whole: Path) -> None:
    _, page = read(whole)
    images = page.named("img")
    assert len(images) > 30
    assert all(image.get("alt") for image in images)
    assert all(head.get("scope") in ("col", "row") for head in page.named("th"))
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert all(a["aria-labelledby"] in ids for _, a in page.tags if "aria-labelledby" in a)
    labelled = {(label["for"]) for label in page.named("label")}
    assert labelled == {field["id"] for field in page.named("input")}


def test_memory_and_generalisation_are_apart() -> None:
    memory, new, other = sorted_scores({**SCORES, "seconds.total": 9.0, "vq.psnr_train": 25.0, "x.y_heldout": None})
    assert "caption.exact_seen" in memory
    assert "poem.copied_rate" in memory
    assert "vq.psnr_train" in memory
    assert {"caption.exact_heldout", "scene.vqa_where_heldout", "poem.form_rate"} <= set(new)
    assert other == ["scene.judge_accuracy"]
    everything = [*memory, *new, *other]
    assert len(everything) == len(set(everything)) == 12


def test_only_what_was_not_seen_is_a_failure(whole: Path) -> None:
    text, _ = read(whole)
    failures = text[text.index('<section id="failures"') : text.index('<section id="costs"')]
    assert failures.count('class="mark wrong"') == 5  # a heldout and a composed painting, caption, question, match
    assert 'class="mark right"' not in failures


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r")

    def spoil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: spoil(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [spoil(item, key) for item in value]
        kept = key in ("split", "picture", "reference", "restored") or not isinstance(value, str)
        return value if kept else HOSTILE

    for name in ("evaluate/examples.json", "corpus/report.json", "config.json", "versions.json"):
        path = run.folder / name
        put(path, spoil(json.loads(path.read_text())))
    rows = (run.folder / "pretrain" / "metrics.jsonl").read_text().replace("loss/poem", "loss/<script>poem")
    (run.folder / "pretrain" / "metrics.jsonl").write_text(rows)
    put(run.folder / "evaluate" / "scores.json", {"<script>.exact_heldout": 0.5})
    report.write(run)
    text, page = read(run.folder)
    assert len(page.named("script")) == len(page.named("style")) == 1
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert all(str(image["src"]).startswith("data:") for image in page.named("img"))
    assert "<script>alert('图')" in page.words
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    "missing",
    [
        "corpus/report.json", "corpus/done.json", "vqgan/done.json", "vqgan/metrics.jsonl", "pretrain/metrics.jsonl",
        "pretrain/done.json", "evaluate/examples.json", "evaluate/scores.json", "config.json", "versions.json",
    ],
)  # fmt: skip
def test_a_missing_file_leaves_a_page(tmp_path: Path, missing: str) -> None:
    run = make_run(tmp_path / "r", 1)
    (run.folder / missing).unlink()
    report.write(run)
    _, page = read(run.folder)
    assert {a.get("id") for _, a in page.tags} >= set(SECTIONS)


def test_an_empty_run_leaves_notes(tmp_path: Path) -> None:
    report.write(Run(tmp_path, Recipe()))
    text, page = read(tmp_path)
    assert {a.get("id") for _, a in page.tags} >= set(SECTIONS)
    assert text.count('class="note"') >= 10


def test_missing_pictures_and_fields_leave_a_frame(tmp_path: Path) -> None:
    run = make_run(tmp_path / "r", 1)
    for path in (run.folder / "evaluate" / "pictures").iterdir():
        path.unlink()
    path = run.folder / "evaluate" / "examples.json"
    examples = json.loads(path.read_text())
    put(path, {**examples, "poems": [], "paintings": [{**row, "right": None, "reference": None}
                                                      for row in examples["paintings"]]})  # fmt: skip
    report.write(run)
    text, page = read(run.folder)
    assert page.named("img") == []
    assert 'class="missing"' in text


def test_the_same_run_gives_the_same_page(whole: Path) -> None:
    before = (whole / "report.html").read_bytes()
    report.write(Run(whole, Recipe()))
    assert (whole / "report.html").read_bytes() == before
    assert not list(whole.glob(".*.tmp"))


def test_elements() -> None:
    assert element("p", "a<b", class_="x&y", hidden=True, id=None) == '<p class="x&amp;y" hidden>a&lt;b</p>'
    assert element("br") == "<br>"


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 700) == [0, 200, 400, 600]
    assert ticks(20.5, 23.4) == [21, 22, 23]
    assert set(log_ticks(0.6, 8)) >= {1, 2, 5}
    assert len(thinned([(x, 1.0) for x in range(5000)])) <= 300
    assert thinned([(0, 1.0), (1, 2.0)]) == [(0, 1.0), (1, 2.0)]


def test_a_log_chart_puts_values_where_their_logarithm_is() -> None:
    """1, 10 and 100 lie at equal distances, and what is not positive is left out."""
    from m6.train.report.plots import Curve

    points = [(0.0, 1.0), (1.0, 10.0), (2.0, 100.0), (3.0, 0.0)]
    chart = line_chart([Curve(element("span", "a"), points)], "", element("b"), element("b"), log=True)
    drawn = re.search(r'<path d="([^"]*)" class="curve', chart)
    assert drawn is not None
    heights = [float(point.split(" ")[1]) for point in drawn[1].removeprefix("M").split("L")]
    assert len(heights) == 3
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.3)
    assert heights[0] > heights[2]
