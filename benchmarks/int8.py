"""What products in 8 bits cost and bring: python -m benchmarks.int8 --run RUN

The same held-out pictures, questions and paintings of a trained run, by weights of 32 bits and of 8, in one process.
Seconds are of its CPU, so that other work on the machine counts as little as can be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import hardware
from m6.config import UserError
from m6.data.sample import Branch, Codes, Sample
from m6.generate.engine import Engine
from m6.generate.int8 import Int8Linear
from m6.generate_flags import trained_run
from m6.serve.slots import Slots
from m6.train.config import EvaluateStage
from m6.train.evaluate.material import Evaluation, pixels_of
from m6.train.evaluate.questions import asked_of

STEPS, WARM = 40, 5
SOURCE, SPLIT = "scenes", "heldout"


def measure(folder: Path, count: int) -> list[tuple[str, float, float]]:
    """What is measured, with float32 and with 8 bits."""
    engines = [Engine.load(folder, device="cpu", int8=int8) for int8 in (False, True)]
    about = Evaluation(folder, EvaluateStage(num_samples=count), seed=0)
    documents = about.some(SOURCE, SPLIT, unseen="pair")
    if not documents:
        raise UserError(f"benchmarks: {folder} has no held-out scenes")
    found = [_figures(engine, documents, count) for engine in engines]
    return [(name, first, second) for (name, first), second in zip(found[0].items(), found[1].values(), strict=True)]


def _figures(engine: Engine, documents: Sequence[dict[str, object]], count: int) -> dict[str, float]:
    pixels = pixels_of(documents)  # type: ignore[arg-type]
    pictures = [engine.picture(each) for each in pixels]
    began = time.process_time()
    said = engine.write_texts([(picture,) for picture in pictures], 64)
    captions = time.process_time() - began
    asked = asked_of(documents, SOURCE, SPLIT)[: 2 * count]  # type: ignore[arg-type]
    place = {id(document): index for index, document in enumerate(documents)}
    prefixes = [(pictures[place[id(document)]], engine.text(question["question"])) for document, question in asked]
    answers = engine.write_texts(prefixes, 24)
    some = slice(max(count // 4, 1))
    codes = engine.encode_pictures(pixels[some])
    samples = [
        Sample("", (), (Branch("x", (engine.text(str(document["text"])),), Codes(grid)),))
        for document, grid in zip(documents[some], codes, strict=True)
    ]
    began = time.process_time()
    nats = float(engine.losses(samples).sum()) / codes.size
    return {
        f"captions right, of {len(documents)}": _share([document["text"] for document in documents], said),
        f"answers right, of {len(asked)}": _share([question["answer"] for _, question in asked], answers),
        f"nats a code, {codes.size} codes": nats,
        "s of CPU for the captions": captions,
        "s of CPU for the nats": time.process_time() - began,
        "codes / s of CPU, 4 slots": _speed(engine, 4),
        "codes / s of CPU, 16 slots": _speed(engine, 16),
        "MiB of the products' weights": _weights(engine) / 2**20,
    }


def _share(true: Sequence[object], found: Sequence[str]) -> float:
    return float(np.mean([own == other.strip() for own, other in zip(true, found, strict=True)]))


def _speed(engine: Engine, rows: int) -> float:
    """Codes of paintings by second of CPU: steps of a server whose slots are all used."""
    slots = Slots(engine, rows, 512)
    slots.used = [True] * rows
    tokens = torch.full((rows,), engine.vocabulary.text_size)
    began = 0.0
    for step in range(STEPS + WARM):
        if step == WARM:
            began = time.process_time()
        place = torch.tensor([[0, step // 16 + 1, step % 16 + 1]]).expand(rows, 3)
        engine.code_logits(slots.step(tokens, place))
    return rows * STEPS / (time.process_time() - began)


def _weights(engine: Engine) -> int:
    """Bytes of the weights of the blocks' linear layers, with the scales of those of 8 bits."""
    layers = [layer for layer in engine.model.blocks.modules() if isinstance(layer, Int8Linear | torch.nn.Linear)]
    return sum(each.numel() * each.element_size() for layer in layers for each in layer.state_dict().values())


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="a trained run (runs/quickstart)")
    parser.add_argument("--count", type=int, default=100, help="captions; twice as many questions (100)")
    given = parser.parse_args()
    try:
        rows = measure(trained_run(given.run), given.count)
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    print(f"{'':36} {'float32':>9} {'int8':>9}")
    for name, first, second in rows:
        print(f"{name:36} {first:9.4g} {second:9.4g}")
    print(f"{hardware()}, {torch.get_num_threads()} threads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
