"""The judge of paintings: a small classifier that says which thing stands at a place of a scene.

It looks through a window at each place where the layout puts a thing, so that it judges things one by one, and it asks
that the rest of the picture be white. It is trained apart from the model, on fresh scenes of real pictures (its own
seed, all combinations), some also as the image tokenizer restores them, so that it knows how a painting at its best
looks. Its own accuracy on further fresh scenes of held-out combinations stands beside every score that it gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from m6.corpus.config import ScenesConfig
from m6.corpus.document import Document
from m6.corpus.sources import scenes
from m6.generate.engine import Engine
from m6.run import progress

SEEN = 40  # a window's side as the classifier sees it
BATCH = 64
SEED = 977  # far from the seeds of corpora
MOST_INK = 0.02  # mean darkness outside of all windows, at the most


@dataclass(frozen=True)
class Expected:
    """What should stand where: captions of the things, and the middles of their places (column, row), pixels."""

    things: tuple[str, ...]
    middles: tuple[tuple[int, int], ...]


def expected(things: Sequence[str], upright: bool, size: int) -> Expected:
    """The captions of the things of a scene, in the order of its layout."""
    middles = [(round(column * size), round(row * size)) for column, row in scenes.SLOTS[len(things)]]
    return Expected(
        tuple(things),
        tuple((row, column) if upright else (column, row) for column, row in middles),
    )


def expected_of(document: Document, size: int) -> Expected:
    """The same of a scene document."""
    attributes = document["attributes"]
    return expected(attributes["things"].split("\n"), attributes["place"] == "above", size)


def window_of(config: ScenesConfig) -> int:
    """Side of what is looked at of a place, pixels: a thing at its largest, wherever it may lie."""
    return max(config.sides) + 2 * config.jitter + config.raster // 2


def windows(picture: np.ndarray, middles: Sequence[tuple[int, int]], window: int) -> np.ndarray:
    """What is seen of a picture [S, S, 3] at each place: [n, window, window, 3]; beyond the edge it is white."""
    half = window // 2
    wide = np.pad(picture, ((half, half), (half, half), (0, 0)), constant_values=255)
    return np.stack([wide[row : row + window, column : column + window] for column, row in middles])


def ink_elsewhere(picture: np.ndarray, middles: Sequence[tuple[int, int]], window: int) -> float:
    """Mean darkness (0 to 1) of a picture outside of all windows."""
    half = window // 2
    outside = np.ones(picture.shape[:2], bool)
    for column, row in middles:
        outside[max(0, row - half) : row + half, max(0, column - half) : column + half] = False
    return float(1 - picture[outside].mean() / 255) if outside.any() else 0.0


class Judge(nn.Module):
    """Windows [B, 3, window, window] in -1 to 1 -> logits [B, len(classes)] of the things that such scenes show."""

    def __init__(self, config: ScenesConfig) -> None:
        super().__init__()
        self.window = window_of(config)
        dyed = (f"{hue}的{name}" for name in scenes.dyeable(config) for hue in scenes.HUES)
        self.classes = (*scenes.THINGS, *dyed)
        widths = (3, 32, 64, 128)
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
        self.see = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * (SEEN // 8) ** 2, 256), nn.ReLU())
        self.say = nn.Linear(256, len(self.classes))

    def forward(self, images: Tensor) -> Tensor:
        return self.say(self.see(F.interpolate(images, (SEEN, SEEN), mode="area")))

    @torch.no_grad()
    def right(self, pictures: np.ndarray, wanted: Sequence[Expected]) -> list[bool]:
        """Whether every thing of each picture [N, S, S, 3] stands in its place, and nothing elsewhere."""
        self.eval()
        verdicts = []
        for picture, scene in zip(pictures, wanted, strict=True):
            best = self(to_images(windows(picture, scene.middles, self.window))).argmax(-1).tolist()
            ink = ink_elsewhere(picture, scene.middles, self.window)
            verdicts.append(tuple(self.classes[thing] for thing in best) == scene.things and ink <= MOST_INK)
        return verdicts


def to_images(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def fresh_scenes(count: int, split: str, config: ScenesConfig, seed: int) -> tuple[np.ndarray, list[Expected]]:
    """Pixels [count, S, S, 3] of scenes that no corpus holds, and what stands in them."""
    cut_outs = scenes.cut_outs()
    pictures, wanted = [], []
    for index in range(count):
        scene, rng = scenes.plan(index, split, config, seed)
        drawn: Image.Image = scenes.draw(scene, cut_outs, config, rng)
        pictures.append(np.asarray(drawn))
        wanted.append(expected([thing.caption for thing in scene.things], scene.upright, config.size))
    return np.stack(pictures), wanted


def train_judge(engine: Engine, config: ScenesConfig, num_scenes: int, num_steps: int) -> tuple[Judge, float]:
    """A judge, and its accuracy on fresh scenes of held-out combinations: the share that it finds right as a whole."""
    half = num_scenes // 2
    pictures, wanted = fresh_scenes(half, "train", config, SEED)
    more, others = fresh_scenes(half, "heldout", config, SEED)
    pictures, wanted = np.concatenate([pictures, more]), [*wanted, *others]
    third = slice(None, None, 3)
    codes = [engine.encode_pictures(part) for part in np.array_split(pictures[third], max(1, num_scenes // 192))]
    restored = np.concatenate([engine.decode_codes(grid) for grid in codes])
    everything, scenes_of = [*pictures, *restored], [*wanted, *wanted[third]]
    torch.manual_seed(SEED)
    judge = Judge(config)
    seen = np.concatenate(
        [windows(p, scene.middles, judge.window) for p, scene in zip(everything, scenes_of, strict=True)]
    )
    truth = np.array([judge.classes.index(thing) for scene in scenes_of for thing in scene.things])
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=num_steps)
    rng = np.random.default_rng(SEED)
    judge.train()
    for _ in progress(num_steps, "judge"):
        chosen = rng.integers(0, len(seen), BATCH)
        images = to_images(seen[chosen])
        images = images + 0.02 * torch.from_numpy(rng.standard_normal(images.shape, np.float32))
        loss = F.cross_entropy(judge(images), torch.from_numpy(truth[chosen]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    test = fresh_scenes(max(100, num_scenes // 12), "heldout", config, SEED + 1)
    return judge, float(np.mean(judge.right(*test)))
