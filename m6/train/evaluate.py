"""Evaluation: every task on what the model has seen and on what it has not, each score beside a trivial baseline.

The parts of the evaluation stand in `PARTS`; each gives scores and examples for the report, and is kept on disk when
it is done, so that an interrupted evaluation goes on with the next. Scores are named as in `results.json`; a score
`x` has its baseline under `x.baseline` and its bootstrap interval under `x.low` and `x.high`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from m6.corpus.config import ScenesConfig
from m6.corpus.document import Document, from_row
from m6.data.images import decode_image
from m6.data.objectives import YES
from m6.data.sample import Text
from m6.generate.engine import Engine
from m6.generate.poems import PoemGrammar, has_form
from m6.generate.sampling import Sampling
from m6.generate.text_to_image import paint_pictures
from m6.run import Run, progress, write_atomic
from m6.shards import Shards
from m6.tasks import captioning, matching, poems, text_to_image, visual_question_answering
from m6.tasks.metrics import interval, mean, overlap
from m6.tokenizer.vocabulary import MATCH
from m6.train.config import EvaluateStage
from m6.train.judge import expected_of, train_judge
from m6.train.results import write_results

__all__ = ["run", "write_results"]

Scores = dict[str, float]
Examples = dict[str, list[dict[str, Any]]]
SHOWN = 24  # examples of a kind in the report
OPTIONS = 10  # prompts among which a painting is found again
MAX_POEM = 160  # tokens: sixteen lines of seven characters, with their marks


def run(run: Run, stage: EvaluateStage, seed: int) -> dict[str, Any]:
    """Scores and examples in the run folder's `evaluate`."""
    folder = run.stage("evaluate")
    (folder / "pictures").mkdir(exist_ok=True)
    about = Evaluation(run.folder, stage, seed)
    scores: Scores = {}
    examples: Examples = {}
    for name, part in progress(list(PARTS.items()), "evaluate"):
        path = folder / f"{name}.json"
        if not path.exists():
            found, shown = part(about)
            write_atomic(path, json.dumps({"scores": found, "examples": shown}, ensure_ascii=False, indent=1))
        kept = json.loads(path.read_text(encoding="utf-8"))
        scores |= kept["scores"]
        for kind, rows in kept["examples"].items():
            examples.setdefault(kind, []).extend(rows)
    write_atomic(folder / "scores.json", json.dumps(scores, indent=1))
    write_atomic(folder / "examples.json", json.dumps(examples, ensure_ascii=False, indent=1))
    return {"scores": len(scores)}


@dataclass
class Evaluation:
    """What the parts share: the engine, the documents and their pictures."""

    folder: Path
    stage: EvaluateStage
    seed: int

    @cached_property
    def engine(self) -> Engine:
        return Engine.load(self.folder)

    @cached_property
    def documents(self) -> list[Document]:
        """All documents of the sources that the model was trained on, in the categories it was trained on."""
        shards = Shards(self.folder / "corpus")
        taken: dict[str, set[str]] = {}
        for entry in self.engine.data.mixture:
            taken.setdefault(entry.source, set()).update(entry.categories or ("",))
        rows = [from_row(shards[row]) for row in range(len(shards))]
        return [
            row
            for row in rows
            if row["source"] in taken
            and ("" in taken[row["source"]] or row["attributes"].get("category") in taken[row["source"]])
        ]

    def some(self, source: str, split: str, **attributes: str) -> list[Document]:
        """At most `num_samples` documents with pictures of a source and split, spread over all of them."""
        found = [
            d
            for d in captioning.read(self.documents, source, split)
            if all(d["attributes"].get(name) == value for name, value in attributes.items())
        ]
        order = np.random.default_rng(self.seed).permutation(len(found))[: self.stage.num_samples]
        return [found[index] for index in sorted(order)]

    @cached_property
    def known(self) -> tuple[list[Document], np.ndarray]:
        """Training documents of emoji and their pixels [N, S, S, 3]: among these the nearest is looked for."""
        documents = captioning.read(self.documents, "emoji", "train")
        return documents, pixels_of(documents)

    @cached_property
    def known_scenes(self) -> tuple[list[Document], np.ndarray]:
        """Some training scenes and their pixels."""
        documents = captioning.read(self.documents, "scenes", "train")[:3000]
        return documents, pixels_of(documents)

    def keep_picture(self, name: str, pixels: np.ndarray) -> str:
        """Saves a picture for the report; returns its path from the folder of the stage."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        write_atomic(self.folder / "evaluate" / "pictures" / f"{name}.png", buffer.getvalue())
        return f"pictures/{name}.png"


def pixels_of(documents: Sequence[Document]) -> np.ndarray:
    """[N, S, S, 3] uint8."""
    return np.stack([decode_image(d["images"][0]["bytes"]) for d in documents])


def with_interval(name: str, values: Sequence[float], baseline: float) -> Scores:
    """A score that is a mean, its bounds, and its baseline."""
    low, high = interval([float(value) for value in values])
    return {name: mean(map(float, values)), f"{name}.low": low, f"{name}.high": high, f"{name}.baseline": baseline}


def captions(about: Evaluation) -> tuple[Scores, Examples]:
    """Names and keywords of single pictures, sentences of scenes; baseline: the caption of the nearest picture."""
    scores: Scores = {}
    shown = []
    groups = [
        ("caption.exact_seen", "emoji", "train", {}),
        ("caption.exact_heldout", "emoji", "heldout", {}),
        ("scene.caption_exact_seen", "scenes", "train", {}),
        ("scene.caption_exact_heldout", "scenes", "heldout", {"unseen": "pair"}),
        ("scene.colour_heldout", "scenes", "heldout", {"unseen": "colour"}),
        ("scene.count_heldout", "scenes", "heldout", {"unseen": "count"}),
    ]
    for key, source, split, attributes in groups:
        documents = about.some(source, split, **attributes)
        if not documents:
            continue
        pixels = pixels_of(documents)
        written = about.engine.write_texts([captioning.sample(about.engine.picture(p)) for p in pixels], 64)
        names = [captioning.decode(text)[0] for text in written]
        right = [name == captioning.decode(d["text"])[0] for name, d in zip(names, documents, strict=True)]
        known, known_pixels = about.known if source == "emoji" else about.known_scenes
        near = [known[index]["text"] for index in nearest_other(documents, pixels, known, known_pixels)]
        baseline = captioning.score(near, documents)
        scores |= with_interval(key, right, baseline["exact"])
        if source == "emoji":
            keyword = key.replace("exact", "keyword_f1")
            scores |= {
                keyword: captioning.score(written, documents)["keyword_f1"],
                f"{keyword}.baseline": baseline["keyword_f1"],
            }
        for index, document in enumerate(documents[:SHOWN]):
            shown.append(
                {
                    "picture": about.keep_picture(f"{key}-{index}", pixels[index]),
                    "written": written[index],
                    "true": document["text"],
                    "split": "seen" if split == "train" else "heldout",
                    "source": source,
                    "unseen": document["attributes"].get("unseen", ""),
                    "right": right[index],
                }
            )
    return scores, {"captions": shown}


def nearest_other(
    documents: Sequence[Document], pixels: np.ndarray, known: Sequence[Document], known_pixels: np.ndarray
) -> list[int]:
    """Of the known pictures the nearest to each that is not the document itself."""
    distance = text_to_image.distances(pixels, known_pixels)
    place = {d["id"]: index for index, d in enumerate(known)}
    for row, document in enumerate(documents):
        if document["id"] in place:
            distance[row, place[document["id"]]] = np.inf
    return [int(index) for index in distance.argmin(1)]


def questions(about: Evaluation) -> tuple[Scores, Examples]:
    """Questions from metadata; baseline: the most frequent answer to the same question in training."""
    scores: Scores = {}
    shown = []
    groups = [
        ("vqa.{}_seen", "emoji", "train", {}),
        ("vqa.{}_heldout", "emoji", "heldout", {}),
        ("scene.vqa_{}_heldout", "scenes", "heldout", {"unseen": "pair"}),
    ]
    for pattern, source, split, attributes in groups:
        asked = visual_question_answering.read(about.some(source, split, **attributes), source, split)
        if not asked:
            continue
        training = [q for _, q in visual_question_answering.read(about.documents, source, "train")]
        usual = visual_question_answering.most_frequent(training)
        pixels = pixels_of([document for document, _ in asked])
        prefixes = [
            visual_question_answering.sample(about.engine.picture(p), about.engine.text(q["question"]))
            for p, (_, q) in zip(pixels, asked, strict=True)
        ]
        answers = [visual_question_answering.decode(text) for text in about.engine.write_texts(prefixes, 24)]
        only = [q for _, q in asked]
        guesses = [usual.get(q["question"], usual.get(q["kind"], "")) for q in only]
        ours, theirs = (visual_question_answering.score(said, only) for said in (answers, guesses))
        right = [answer == q["answer"] for answer, q in zip(answers, only, strict=True)]
        for kind, value in ours.items():
            scores |= {pattern.format(kind): value, pattern.format(kind) + ".baseline": theirs[kind]}
        scores |= with_interval(pattern.format("accuracy"), right, theirs["accuracy"])
        for index in range(0, len(asked), max(1, len(asked) // SHOWN)):
            question = asked[index][1]
            shown.append(
                {
                    "picture": about.keep_picture(f"question-{source}-{split}-{index}", pixels[index]),
                    "question": question["question"],
                    "written": answers[index],
                    "true": question["answer"],
                    "kind": question["kind"],
                    "split": "seen" if split == "train" else "heldout",
                    "source": source,
                    "right": right[index],
                }
            )
    return scores, {"questions": shown}


def match(about: Evaluation) -> tuple[Scores, Examples]:
    """The true text against one that nearly fits; baseline: the text more like that of the nearest known picture."""
    scores: Scores = {}
    shown = []
    rng = np.random.default_rng(about.seed)
    groups = [
        ("matching.accuracy_seen", "emoji", "train", {}),
        ("matching.accuracy_heldout", "emoji", "heldout", {}),
        ("scene.matching_heldout", "scenes", "heldout", {"unseen": "pair"}),
    ]
    for key, source, split, attributes in groups:
        documents = about.some(source, split, **attributes)
        if len(documents) < 2:
            continue
        pixels = pixels_of(documents)
        wrong = [unfitting(document, documents, rng) for document in documents]
        true = rng.integers(0, 2, len(documents))
        texts = [(d["text"], w) if t == 0 else (w, d["text"]) for d, w, t in zip(documents, wrong, true, strict=True)]
        pictures = [about.engine.picture(p) for p in pixels]
        segments = [[about.engine.text(text) for text in pair] for pair in texts]
        chosen = matching.decode(about.engine.losses, pictures, segments)
        known, known_pixels = about.known if source == "emoji" else about.known_scenes
        near = [known[index]["text"] for index in nearest_other(documents, pixels, known, known_pixels)]
        alike = [int(overlap(pair[1], text) > overlap(pair[0], text)) for pair, text in zip(texts, near, strict=True)]
        scores |= with_interval(key, (chosen == true).tolist(), matching.score(alike, true.tolist())["accuracy"])
        asked = [
            (picture, Text((*about.engine.text(pair[0]).ids, MATCH)))
            for picture, pair in zip(pictures, texts, strict=True)
        ]
        said = [answer == YES for answer in about.engine.write_texts(asked, 2)]
        agreed = [yes == (place == 0) for yes, place in zip(said, true, strict=True)]
        yes_no = {"accuracy_": "yes_no_", "matching_heldout": "matching_yes_no_heldout"}
        scores |= with_interval(replace_any(key, yes_no), agreed, 0.5)
        for index in range(min(SHOWN // 2, len(documents))):
            shown.append(
                {
                    "picture": about.keep_picture(f"{key}-{index}", pixels[index]),
                    "texts": list(texts[index]),
                    "chosen": int(chosen[index]),
                    "true": int(true[index]),
                    "split": "seen" if split == "train" else "heldout",
                    "source": source,
                }
            )
    return scores, {"matching": shown}


def replace_any(text: str, words: dict[str, str]) -> str:
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def unfitting(document: Document, documents: Sequence[Document], rng: np.random.Generator) -> str:
    """A text that does not fit: a known false one, else that of another document, if it can be of the same category."""
    false = document["attributes"].get("unfitting", "")
    if false:
        return str(rng.choice(false.split("\n")))
    others = [d for d in documents if d["title"] != document["title"]]
    category = document["attributes"].get("category")
    alike = [d for d in others if d["attributes"].get("category") == category]
    pool = alike or others
    return pool[int(rng.integers(len(pool)))]["text"]


def verse(about: Evaluation) -> tuple[Scores, Examples]:
    """Poems for titles of unseen poets, and how surprising the true ones are; baseline: frequency of characters."""
    training, heldout = (poems.read(about.documents, split) for split in ("train", "heldout"))
    fitting = [d for d in heldout if has_form(d["text"], d["attributes"]["form"])][: about.stage.num_poems]
    if not fitting:
        return {}, {}
    engine = about.engine
    sampling = Sampling(temperature=0.8, top_p=0.9, seed=about.seed)
    known = {line for d in training for line in poems.decode(d["text"])}
    forms = [d["attributes"]["form"] for d in fitting]
    prefixes = [(engine.text(poems.prompt(d)),) for d in fitting]
    free = engine.write_texts(prefixes, MAX_POEM, sampling)
    written = [""] * len(fitting)
    for form in dict.fromkeys(forms):
        rows = [row for row, its_form in enumerate(forms) if its_form == form]
        grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, form)
        ids = engine.write([prefixes[row] for row in rows], MAX_POEM, sampling, grammar)
        for row, tokens in zip(rows, ids, strict=True):
            written[row] = engine.tokenizer.decode(tokens)
    kept = [has_form(text, form) for text, form in zip(written, forms, strict=True)]
    kept_free = [has_form(text, form) for text, form in zip(free, forms, strict=True)]
    score = poems.score(written, kept, known)
    human = poems.score([d["text"] for d in fitting], kept, known)
    measured = [d for d in heldout if len(engine.tokenizer.encode(d["text"])) <= engine.data.max_text]
    measured = measured[: about.stage.num_samples]
    losses = engine.losses([poems.sample(engine.text(poems.prompt(d)), engine.text(d["text"])) for d in measured])
    texts = [d["text"] for d in measured]
    letters = "".join(d["text"] for d in training)
    places = np.random.default_rng(about.seed).integers(0, len(letters), (len(fitting), 48))
    scattered = ["".join(letters[place] for place in row) for row in places]
    scores = {
        "poem.form_rate": score["form_rate"],
        "poem.form_rate.baseline": mean(has_form(text, form) for text, form in zip(scattered, forms, strict=True)),
        "poem.form_rate_free": mean(kept_free),
        "poem.form_rate_free.baseline": mean(has_form(t, f) for t, f in zip(scattered, forms, strict=True)),
        "poem.copied_rate": score["copied_rate"],
        "poem.copied_rate.baseline": human["copied_rate"],
        "poem.bits_per_char_heldout": poems.bits_per_character(losses, texts),
        "poem.bits_per_char_heldout.baseline": poems.unigram_bits([d["text"] for d in training], texts),
    }
    shown = [
        {
            "title": d["title"],
            "form": d["attributes"]["form"],
            "author": d["attributes"].get("author", ""),
            "written": text,
            "true": d["text"],
            "split": "heldout",
        }
        for d, text in zip(fitting[:8], written, strict=False)
    ]
    return scores, {"poems": shown}


def paintings(about: Evaluation) -> tuple[Scores, Examples]:
    """Known texts against the nearest training picture, and unseen ones found again among other prompts."""
    scores: Scores = {}
    shown = []
    for split in ("train", "heldout"):
        documents = about.some("emoji", split)
        if len(documents) < 2:
            continue
        prompts = [text_to_image.sample(d) for d in documents]
        painted = paint_pictures(about.engine, prompts)
        references = pixels_of(documents)
        if split == "train":
            known, known_pixels = about.known
            near = text_to_image.nearest(painted, known_pixels)
            right = [known[index]["id"] == d["id"] for index, d in zip(near, documents, strict=True)]
            scores |= with_interval("text_to_image.right_seen", right, 1 / len(known))
        else:
            options, places = text_to_image.choices(len(documents), OPTIONS, about.seed)
            segments = [[about.engine.text(prompts[index]) for index in row] for row in options]
            pictures = [about.engine.picture(picture) for picture in painted]
            right = (matching.decode(about.engine.losses, pictures, segments) == places).tolist()
            chance = 1 / options.shape[1]
            scores |= with_interval("text_to_image.round_trip_heldout", right, chance)
        for index, document in enumerate(documents[: 32 if split == "train" else 16]):
            name = f"painting-{split}-{index}"
            shown.append(
                {
                    "prompt": document["text"],
                    "picture": about.keep_picture(name, painted[index]),
                    "reference": about.keep_picture(f"{name}-true", references[index]),
                    "split": "seen" if split == "train" else "heldout",
                    "right": bool(right[index]),
                }
            )
    return scores, {"paintings": shown}


def painted_scenes(about: Evaluation) -> tuple[Scores, Examples]:
    """Scenes of unseen combinations, painted and judged; baseline: the training scene whose text is most alike."""
    scores: Scores = {}
    shown = []
    groups = [
        ("scene.paint_right_heldout", "pair"),
        ("scene.paint_colour_heldout", "colour"),
        ("scene.paint_count_heldout", "count"),
    ]
    if not about.some("scenes", "heldout"):
        return {}, {}
    config = ScenesConfig.read(about.folder / "config.json", section="corpus.scenes")
    judge, accuracy = train_judge(about.engine, config, about.stage.judge_scenes, about.stage.judge_steps)
    scores["scene.judge_accuracy"] = accuracy
    known, known_pixels = about.known_scenes
    for key, unseen in groups:
        documents = about.some("scenes", "heldout", unseen=unseen)
        if not documents:
            continue
        wanted = [expected_of(d, config.size) for d in documents]
        painted = paint_pictures(about.engine, [d["text"] for d in documents])
        right = judge.right(painted, wanted)
        near = [int(np.argmax([overlap(d["text"], other["text"]) for other in known])) for d in documents]
        scores |= with_interval(key, right, mean(judge.right(known_pixels[near], wanted)))
        references = pixels_of(documents[:32])
        for index, document in enumerate(documents[: 32 if unseen == "pair" else 8]):
            shown.append(
                {
                    "prompt": document["text"],
                    "picture": about.keep_picture(f"{key}-{index}", painted[index]),
                    "reference": about.keep_picture(f"{key}-{index}-true", references[index]),
                    "split": "composed",
                    "unseen": unseen,
                    "right": bool(right[index]),
                }
            )
    return scores, {"paintings": shown}


def reconstructions(about: Evaluation) -> tuple[Scores, Examples]:
    """Pictures beside what the image tokenizer makes of them, for the report."""
    shown = []
    for source, split in (("emoji", "heldout"), ("scenes", "heldout"), ("emoji", "train")):
        documents = about.some(source, split)[:8]
        if not documents:
            continue
        pixels = pixels_of(documents)
        restored = about.engine.decode_codes(about.engine.encode_pictures(pixels))
        errors = ((pixels.astype(np.float64) - restored) ** 2).mean((1, 2, 3)) / 255**2
        for index in range(len(documents)):
            name = f"restored-{source}-{split}-{index}"
            shown.append(
                {
                    "picture": about.keep_picture(name + "-true", pixels[index]),
                    "restored": about.keep_picture(name, restored[index]),
                    "split": "seen" if split == "train" else "heldout",
                    "source": source,
                    "psnr": float(-10 * np.log10(max(errors[index], 1e-10))),
                }
            )
    return {}, {"reconstructions": shown}


PARTS: dict[str, Callable[[Evaluation], tuple[Scores, Examples]]] = {
    "captions": captions,
    "questions": questions,
    "match": match,
    "verse": verse,
    "paintings": paintings,
    "painted_scenes": painted_scenes,
    "reconstructions": reconstructions,
}
