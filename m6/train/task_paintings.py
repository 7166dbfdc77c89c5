"""Paintings of the texts of a split, and their scores.

    texts -> paintings -> the model's own reading of them: which text is each of?   round_trip.recall_1, 5, 10
                       -> pictures that were meant: which is each nearest to?       nearest_is_meant
                       -> features of both, taken for normal distributions          fid_own_features

FID is on features of the image tokenizer's stage (`vqgan.features`), so that it compares with no other network's; a run
without them has none. `bits_per_code` needs no painting: it is how surprising the codes of the pictures are that were
meant. Beside ours stand `restored`, those pictures through the image tokenizer, which no painting can be expected to
beat; `nearest_text`, the picture of training whose text is most alike; and codes by their frequency in training.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from m6.config import UserError
from m6.generate.paintings import best_of
from m6.generate.rank import fits
from m6.generate.sampling import Sampling
from m6.generate.text_to_image import paint_pictures
from m6.model.weights import checkpoints, load_weights, newest
from m6.run import progress, write_atomic
from m6.tasks.baselines import nearest_text
from m6.tasks.example import Example
from m6.tasks.metrics.statistic import Statistic
from m6.tasks.text_to_image import score_nearest, score_round_trip, texts_of
from m6.train.task_examined import Examined
from m6.vqgan.features import FeatureNet
from m6.vqgan.figures import frechet_distance

Scores = dict[str, Statistic]
AT_ONCE = 32  # texts that are painted between two lines of progress
COUNTED = 2_000  # pictures of training whose codes are counted


def painted(about: Examined) -> tuple[list[str], Scores]:
    """The files of the paintings, and their scores. UserError for a run that has not learnt to paint."""
    if "text_to_image" not in about.learnt:
        raise UserError(
            f"{about.folder}: this run has not learnt to paint; it has learnt {', '.join(sorted(about.learnt))}"
        )
    pictures = _paint(about)
    names = []
    for index, pixels in enumerate(pictures):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        names.append(f"{about.pictures.name}/{index:05}.png")
        about.pictures.mkdir(parents=True, exist_ok=True)
        write_atomic(about.pictures / f"{index:05}.png", buffer.getvalue())
    told = all(each.picture for each in about.examples)
    return names, scores_of(about, pictures) | ({"bits_per_code": _bits(about)} if told else {})


def baselines(about: Examined) -> dict[str, Scores]:
    """The scores of what paints nothing."""
    if not all(each.picture for each in about.examples):
        return {}
    engine, found = about.engine, {}
    meant = [about.segments.codes(each.picture).grid for each in about.examples if each.picture]
    found["restored"] = scores_of(about, np.concatenate([engine.decode_codes(grid[None]) for grid in meant]))
    if about.known:
        places = nearest_text([_numbered(each, place) for place, each in enumerate(about.known)], about.examples)
        near = [about.known[int(place)].picture for place in places]
        found["nearest_text"] = scores_of(about, np.stack([about.segments.pixels_at(at) for at in near if at]))
        drawn = np.random.default_rng(about.config.seed).permutation(len(about.known))[:COUNTED]
        grids = [about.segments.codes(at).grid for at in (about.known[index].picture for index in drawn) if at]
        counts = 1 + np.bincount(np.concatenate(grids, None), minlength=_num_codes(about))
        chances = np.log2(counts / counts.sum())
        found["frequencies"] = {"bits_per_code": _mean([-chances[grid].sum() for grid in meant], meant)}
    return found


def scores_of(about: Examined, pictures: np.ndarray) -> Scores:
    """Of paintings [E, S, S, 3] of the texts of the examples."""
    found: Scores = {}
    if "captioning" in about.learnt:
        texts = [about.segments.text(text) for text in texts_of(about.examples)]
        matrix = fits(about.engine, [(about.engine.picture(one),) for one in pictures], texts, prior=about.by == "pmi")
        found |= score_round_trip(matrix, about.examples)
    if all(each.picture for each in about.examples):
        meant = np.stack([about.segments.pixels_at(each.picture) for each in about.examples if each.picture])
        found["nearest_is_meant"] = score_nearest(pictures, meant)
        if checkpoints(about.folder / "vqgan" / "features") and len(meant) > 1:
            net = FeatureNet().eval()
            load_weights(newest(about.folder / "vqgan" / "features", "vqgan"), net)
            distance = frechet_distance(_pooled(net, pictures), _pooled(net, meant))
            found["fid_own_features"] = Statistic(np.array([[distance]]), lambda sums: sums[..., 0])
    return found


def _paint(about: Examined) -> np.ndarray:
    """One painting [E, S, S, 3] a text: of several candidates the one that the model finds to fit best."""
    config, engine = about.config, about.engine
    if config.candidates > 1 and not config.temperature:
        raise UserError(f"--candidates {config.candidates}: all would be the same; give --temperature 1 too")
    if config.candidates > 1 and "captioning" not in about.learnt:
        raise UserError(f"{about.folder}: --candidates needs a run that has learnt captioning")
    prompts = [each.prompt for each in about.examples]
    kept: list[np.ndarray] = []
    with progress(len(prompts) * config.candidates, "paintings") as bar:
        for start in range(0, len(prompts), AT_ONCE):
            some = prompts[start : start + AT_ONCE]
            rounds = []
            for candidate in range(config.candidates):
                seed = config.seed + candidate * len(prompts) + start
                sampling = Sampling(temperature=config.temperature, top_p=config.top_p, seed=seed)
                rounds.append(paint_pictures(engine, some, sampling, config.guidance))
                bar.advance(len(some))
            kept.append(best_of(engine, some, np.stack(rounds)))
    return np.concatenate(kept)


def _bits(about: Examined) -> Statistic:
    """Bits of a code of the pictures that were meant."""
    samples = [about.task.sample(each, about.segments) for each in about.examples]
    grids = [about.segments.codes(each.picture).grid for each in about.examples if each.picture]
    return _mean(list(about.engine.losses(samples) / np.log(2)), grids)


def _mean(bits: Sequence[float], grids: Sequence[np.ndarray]) -> Statistic:
    """Of a code, from those of pictures."""
    parts = np.array([[sum_of, grid.size] for sum_of, grid in zip(bits, grids, strict=True)], float)
    return Statistic(parts, lambda sums: sums[..., 0] / sums[..., 1])


@torch.inference_mode()
def _pooled(net: FeatureNet, pictures: np.ndarray) -> torch.Tensor:
    parts = np.array_split(pictures, -(-len(pictures) // 64))
    images = (torch.from_numpy(part).permute(0, 3, 1, 2).float() / 127.5 - 1.0 for part in parts)
    return torch.cat([net.pooled(each) for each in images])


def _num_codes(about: Examined) -> int:
    assert about.engine.vqgan is not None
    return about.engine.vqgan.config.num_codes


def _numbered(example: Example, place: int) -> Example:
    return Example(example.key, example.prompt, (str(place),))
