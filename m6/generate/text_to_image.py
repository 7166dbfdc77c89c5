"""Text to pictures: prompts, image codes of the model, and the image tokenizer's decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m6.generate.engine import Engine
from m6.generate.sampling import GREEDY, Sampling

GUIDANCE = 1.0  # a model that has converged needs none; more helps one that has not


def paint_pictures(
    engine: Engine, prompts: Sequence[str], sampling: Sampling = GREEDY, guidance: float = GUIDANCE
) -> np.ndarray:
    """One picture a prompt: [B, S, S, 3] uint8. An empty prompt paints anything."""
    prefixes = [(engine.text(prompt),) if prompt else () for prompt in prompts]
    side = engine.codes_side
    return engine.decode_codes(engine.paint(prefixes, side, side, sampling, guidance))
