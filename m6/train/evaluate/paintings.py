"""Paintings: single things and scenes painted from their texts and judged, and pictures through the image tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from m6.corpus.config import ScenesConfig
from m6.corpus.document import Document
from m6.generate.editing import Edited
from m6.generate.learnt import learnt_by
from m6.generate.paintings import best_of
from m6.generate.sampling import Sampling
from m6.generate.text_to_image import Edit, Grid, paint_codes, paint_pictures
from m6.tasks import text_to_image
from m6.tasks.metrics import mean, overlap
from m6.train.evaluate.matches import choose
from m6.train.evaluate.material import SPLIT_NAMES, Evaluation, Example, Examples, Scores, pixels_of, with_interval
from m6.train.judge import Judge, expected_of, train_judge

OPTIONS = 10  # prompts among which a painting is found again
# Key of the score, what is new in the scenes, how many of them are shown.
SCENES = [
    ("scene.paint_right_heldout", "pair", 32),
    ("scene.paint_colour_heldout", "colour", 8),
    ("scene.paint_count_heldout", "count", 8),
]


def paintings(about: Evaluation) -> tuple[Scores, Examples]:
    """Known texts, and their titles alone, against the nearest training picture; unseen ones found again among other
    prompts."""
    scores: Scores = {}
    shown: list[Example] = []
    for key, split, titled, check, most in (
        ("text_to_image.right_seen", "train", False, nearest_is_meant, 32),
        ("text_to_image.titled_seen", "train", True, nearest_is_meant, 0),
        ("text_to_image.round_trip_heldout", "heldout", False, found_again, 16),
    ):
        documents = about.some("emoji", split)
        if len(documents) < 2:
            continue
        prompts = [document["title"] if titled else document["text"] for document in documents]
        painted = paint_pictures(about.engine, prompts, guidance=about.stage.guidance)
        right, chance = check(about, documents, painted)
        scores |= with_interval(key, right, chance)
        for index, document in enumerate(documents[:most]):
            shown.append(
                {
                    **painting(about, f"painting-{split}-{index}", document, painted[index]),
                    "split": SPLIT_NAMES[split],
                    "right": right[index],
                }
            )
    return scores, {"paintings": shown}


def nearest_is_meant(about: Evaluation, documents: Sequence[Document], painted: np.ndarray) -> tuple[list[bool], float]:
    """Whether the training picture nearest to each painting [N, S, S, 3] is the one that was meant; and the chance."""
    known, known_pixels = about.known("emoji")
    near = text_to_image.nearest(painted, known_pixels)
    return [known[index]["id"] == d["id"] for index, d in zip(near, documents, strict=True)], 1 / len(known)


def found_again(about: Evaluation, documents: Sequence[Document], painted: np.ndarray) -> tuple[list[bool], float]:
    """Whether the model tells the prompt of each painting [N, S, S, 3] among `OPTIONS` of them; and the chance."""
    options, places = text_to_image.choices(len(documents), OPTIONS, about.seed)
    segments = [[about.engine.text(documents[index]["text"]) for index in row] for row in options]
    pictures = [about.engine.picture(picture) for picture in painted]
    chosen = choose(about.engine.losses, pictures, segments)
    return (chosen == places).tolist(), 1 / options.shape[1]


def painting(about: Evaluation, name: str, document: Document, painted: np.ndarray) -> Example:
    """A prompt, what was painted [S, S, 3], and what was meant; both pictures are kept."""
    return {
        "prompt": document["text"],
        "picture": about.keep_picture(name, painted),
        "reference": about.keep_picture(f"{name}-true", pixels_of([document])[0]),
    }


def painted_scenes(about: Evaluation) -> tuple[Scores, Examples]:
    """Scenes of unseen combinations, painted and judged; baseline: the training scene whose text is most alike."""
    if not about.some("scenes", "heldout"):
        return {}, {}
    scores: Scores = {}
    shown: list[Example] = []
    config = ScenesConfig.read(about.folder / "config.json", section="corpus.sources.scenes")
    judge, accuracy = train_judge(about.engine, config, about.stage.judge_scenes, about.stage.judge_steps)
    scores["scene.judge_accuracy"] = accuracy
    known, known_pixels = about.known("scenes")
    for key, unseen, most in SCENES:
        documents = about.some("scenes", "heldout", unseen=unseen)
        if not documents:
            continue
        wanted = [expected_of(d, config.size) for d in documents]
        painted = paint_pictures(about.engine, [d["text"] for d in documents], guidance=about.stage.guidance)
        right = judge.right(painted, wanted)
        near = [int(np.argmax([overlap(d["text"], other["text"]) for other in known])) for d in documents]
        scores |= with_interval(key, right, mean(judge.right(known_pixels[near], wanted)))
        if about.stage.candidates:
            scores |= chosen_scenes(about, key, documents, partial(judge.right, wanted=wanted))
        if unseen == "pair" and "inpainting" in learnt_by(about.folder):
            filled, found = filled_scenes(about, documents, known_pixels[near], judge)
            scores |= filled
            shown += found
        for index, document in enumerate(documents[:most]):
            shown.append(
                {
                    **painting(about, f"{key}-{index}", document, painted[index]),
                    "split": "composed",
                    "unseen": unseen,
                    "right": right[index],
                }
            )
    return scores, {"paintings": shown}


def filled_scenes(
    about: Evaluation, documents: Sequence[Document], near: np.ndarray, judge: Judge
) -> tuple[Scores, list[Example]]:
    """Scenes of which the half with the last thing is painted anew, from their text and the other half; baseline: that
    half of the training scenes whose texts are most alike, `near` [N, S, S, 3]."""
    engine, pixels = about.engine, pixels_of(documents)
    size, grid = pixels.shape[1], Grid(engine.codes_side, engine.codes_side)
    half = np.arange(grid.height) >= grid.height // 2
    wanted = [expected_of(document, size) for document in documents]
    filled, pasted = pixels.copy(), pixels.copy()
    for beside in (True, False):
        rows = [index for index, scene in enumerate(wanted) if (scene.middles[-1][1] == size // 2) == beside]
        if not rows:
            continue
        region = np.broadcast_to(half if beside else half[:, None], grid)
        texts = [documents[index]["text"] for index in rows]
        edited = Edited(pixels[rows], Edit(engine.encode_pictures(pixels[rows]), region))
        codes = paint_codes(engine, texts, grid, guidance=about.stage.guidance, edit=edited.edit)
        filled[rows], pasted[rows] = edited.kept(engine.decode_codes(codes)), edited.kept(near[rows])
    right = judge.right(filled, wanted)
    key = "scene.filled_right_heldout"
    shown = [
        {**painting(about, f"{key}-{index}", document, filled[index]), "split": "filled", "right": right[index]}
        for index, document in enumerate(documents[:8])
    ]
    return with_interval(key, right, mean(judge.right(pasted, wanted))), shown


def chosen_scenes(
    about: Evaluation, key: str, documents: Sequence[Document], right: Callable[[np.ndarray], list[bool]]
) -> Scores:
    """Scenes drawn by chance, several of each: how many are right of those that the model chooses; baseline: of all."""
    texts = [d["text"] for d in documents]
    rounds = [
        paint_pictures(about.engine, texts, Sampling(1.0, seed=about.seed + number * len(texts)), about.stage.guidance)
        for number in range(about.stage.candidates)
    ]
    drawn = np.mean([right(pictures) for pictures in rounds], axis=0)
    chosen = right(best_of(about.engine, texts, np.stack(rounds)))
    return with_interval(key.replace("paint", "chosen"), chosen, mean(drawn))


def reconstructions(about: Evaluation) -> tuple[Scores, Examples]:
    """Pictures beside what the image tokenizer makes of them, for the report."""
    shown: list[Example] = []
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
                    "split": SPLIT_NAMES[split],
                    "source": source,
                    "psnr": float(-10 * np.log10(max(errors[index], 1e-10))),
                }
            )
    return {}, {"reconstructions": shown}
