"""The judge of paintings: a small classifier that says which thing stands where in a scene.

It is trained apart from the model, on fresh scenes of real pictures (its own seed, held-out combinations included),
some also as the image tokenizer restores them, so that it knows how a painting at its best looks. Its own accuracy
on further fresh scenes stands beside every score that it gives.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from m6.corpus.config import ScenesConfig
from m6.corpus.sources import scenes
from m6.generate.engine import Engine
from m6.run import progress

NUM_SLOTS = 4
BATCH = 64
SEED = 977  # far from the seeds of corpora
NOTHING = ""
CLASSES = (
    NOTHING,
    *scenes.THINGS,
    *(f"{hue}的{name}" for name in scenes.DYEABLE.values() for hue in scenes.HUES),
)


def label(things: list[str], place: str, kind: str) -> list[int]:
    """What stands in each slot, as indices of CLASSES: pairs beside each other fill the first two slots, pairs above
    each other the last two, and things that are counted the first ones."""
    slots = [NOTHING] * NUM_SLOTS
    start = 2 if kind in ("pair", "colour_pair") and place == "above" else 0
    slots[start : start + len(things)] = things
    return [CLASSES.index(thing) for thing in slots]


class Judge(nn.Module):
    """Pictures [B, 3, 64, 64] in -1 to 1 -> logits [B, NUM_SLOTS, len(CLASSES)]."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.see = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128 * (side // 8) ** 2, 256),
            nn.ReLU(),
        )
        self.say = nn.Linear(256, NUM_SLOTS * len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.say(self.see(images)).unflatten(-1, (NUM_SLOTS, len(CLASSES)))

    @torch.no_grad()
    def right(self, pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether every slot of each picture [N, S, S, 3] holds what `labels` [N, NUM_SLOTS] say: [N] bool."""
        self.eval()
        said = [self(to_images(pixels[i : i + BATCH])).argmax(-1).numpy() for i in range(0, len(pixels), BATCH)]
        return np.asarray((np.concatenate(said) == labels).all(1))


def to_images(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def fresh_scenes(count: int, split: str, config: ScenesConfig, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [count, S, S, 3] and labels [count, NUM_SLOTS] of scenes that no corpus holds."""
    pictures = scenes.cut_outs()
    pixels, labels = [], []
    for index in range(count):
        scene, rng = scenes.plan(index, split, config, seed)
        drawn: Image.Image = scenes.draw(scene, pictures, config, rng)
        pixels.append(np.asarray(drawn))
        labels.append(label([t.caption for t in scene.things], "above" if scene.upright else "beside", scene.kind))
    return np.stack(pixels), np.array(labels)


def train_judge(engine: Engine, config: ScenesConfig, num_scenes: int, num_steps: int) -> tuple[Judge, float]:
    """A judge, and its accuracy (all slots right) on fresh scenes of held-out combinations."""
    half = num_scenes // 2
    made = [fresh_scenes(half, split, config, SEED) for split in ("train", "heldout")]
    pixels, labels = (np.concatenate(parts) for parts in zip(*made, strict=True))
    third = slice(None, None, 3)
    codes = [engine.encode_pictures(part) for part in np.array_split(pixels[third], max(1, num_scenes // 192))]
    restored = np.concatenate([engine.decode_codes(grid) for grid in codes])
    everything, truth = np.concatenate([pixels, restored]), np.concatenate([labels, labels[third]])
    torch.manual_seed(SEED)
    judge = Judge(config.size)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=num_steps)
    rng = np.random.default_rng(SEED)
    judge.train()
    for _ in progress(num_steps, "judge"):
        chosen = rng.integers(0, len(everything), BATCH)
        images = to_images(everything[chosen])
        images = images + 0.02 * torch.from_numpy(rng.standard_normal(images.shape, np.float32))
        loss = F.cross_entropy(judge(images).flatten(0, 1), torch.from_numpy(truth[chosen]).flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    test = fresh_scenes(max(100, num_scenes // 12), "heldout", config, SEED + 1)
    return judge, float(judge.right(*test).mean())
