"""A GPU writes, paints and ranks what the CPU does. Skipped without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m6.data.sample import Branch, Codes, Sample
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.rank import fits
from m6.generate.sampling import Sampling
from m6.model.config import CodeAttentionConfig
from m6.model.sparse import FULL
from tests.unit.generate.small_engine import WINDOW, small_engine

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
PROMPTS = ("红苹果", "左边是企鹅，右边是西瓜")
PICTURE = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)


def both(codes: CodeAttentionConfig = FULL) -> tuple[Engine, Engine]:
    """The same engine on the CPU and on the GPU."""
    return small_engine(codes), small_engine(codes).to("cuda")


@pytest.mark.parametrize("decoding", [Decoding(), Decoding(beams=3), Decoding(contrast=0.6, top_k=4)], ids=str)
def test_the_same_answers(decoding: Decoding) -> None:
    answers = []
    for engine in both():
        prefixes = [(engine.picture(PICTURE), engine.text(prompt)) for prompt in PROMPTS]
        answers.append(engine.write(prefixes, 8, decoding))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("codes", [FULL, WINDOW], ids=["full", "window"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_same_picture(codes: CodeAttentionConfig, guidance: float) -> None:
    painted = []
    for engine in both(codes):
        prefixes = [(engine.text(prompt),) for prompt in PROMPTS]
        grid = engine.paint(prefixes, 6, 4, Sampling(temperature=1.0, seed=5), guidance)
        painted.append((grid, engine.decode_codes(grid).astype(int)))
    assert painted[0][0].tolist() == painted[1][0].tolist()
    assert np.abs(painted[0][1] - painted[1][1]).max() <= 1


def test_the_same_figures() -> None:
    found = []
    for engine in both():
        texts = [engine.text(prompt) for prompt in PROMPTS]
        sample = Sample("", (), (Branch("text_to_image", (texts[0],), Codes(np.arange(24).reshape(6, 4))),))
        codes = engine.encode_pictures(PICTURE[None])
        found.append((fits(engine, [(engine.picture(PICTURE),)], texts), engine.losses([sample]), codes))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
