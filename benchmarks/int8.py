"""The benchmark of products in 8 bits: what they cost and bring, beside float32, in one process.

    python -m benchmarks.int8 [--smoke] [--json FILE] [--runs N] [--run RUN] [--count N]

The same held-out scenes of a trained run by both: `int8_captions_right`, `int8_answers_right` of twice as many
questions, `int8_nats` of a code of a quarter as many pictures, a cost; `int8_codes_4`, `int8_codes_16`: codes of
paintings by second of CPU, steps of a server with so many slots, all used, by turns; `int8_mib`, a cost: the weights of
the products. `--smoke` is a few of each.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command import RUNS, Flags, command
from benchmarks.rows import Row, row
from m6.config import UserError
from m6.corpus.document import Document
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
FLAGS: Flags = {
    "--run": {
        "type": Path,
        "default": Path("runs/paint"),
        "metavar": "RUN",
        "help": "a trained run (runs/paint)",
    },
    "--count": {"type": int, "default": 100, "metavar": "N", "help": "captions; twice as many questions (100)"},
}


def measure(given: argparse.Namespace) -> list[Row]:
    """The rows of all keys. UserError for what is no trained run, or has no held-out scenes."""
    folder, count, runs = trained_run(given.run), 4 if given.smoke else given.count, 1 if given.smoke else given.runs
    engines = [Engine.load(folder, device="cpu", int8=int8) for int8 in (True, False)]
    documents = Evaluation(folder, EvaluateStage(num_samples=count), seed=0).some(SOURCE, SPLIT, unseen="pair")
    if not documents:
        raise UserError(f"benchmarks: {folder} has no held-out scenes")
    ours, peer = (_scores(engine, documents, count) for engine in engines)
    rows = [_row(key, [ours[key]], [peer[key]], *told, given) for key, told in _told(ours, len(documents)).items()]
    for slots in (4, 16):
        rates: list[list[float]] = [[], []]
        for number in range(runs):
            for index in (0, 1)[:: -1 if number % 2 else 1]:
                rates[index].append(_speed(engines[index], slots))
        note = f"steps of {slots} slots; {torch.get_num_threads()} threads"
        rows.append(_row(f"int8_codes_{slots}", *rates, "codes/s of CPU", note, given))
    sizes = [[_weights(engine) / 2**20] for engine in engines]
    rows.append(_row("int8_mib", *sizes, "MiB", "a cost: weights of the blocks' products, scales too", given))
    return rows


def _told(scores: dict[str, float], captions: int) -> dict[str, tuple[str, str]]:
    """Unit and note of each score."""
    return {
        "int8_captions_right": ("share", f"captions of {captions} held-out scenes"),
        "int8_answers_right": ("share", f"answers to {scores['asked']:.0f} questions about them"),
        "int8_nats": ("nats", f"a cost: of a code, {scores['codes']:.0f} of them, given the text"),
    }


def _row(
    key: str, ours: Sequence[float], peer: Sequence[float], unit: str, note: str, given: argparse.Namespace
) -> Row:
    # where neither is ever right, as in a run that has learnt next to nothing, they are equal
    ratios = [own / other if other else float(own == other) for own, other in zip(ours, peer, strict=True)]
    made = row(key, ours, unit, peer=peer, peer_name="open-m6, float32", ratios=ratios, note=note, module="int8")
    made["command"] = f"python -m benchmarks.int8 --run {given.run}"
    return made


def _scores(engine: Engine, documents: Sequence[Document], count: int) -> dict[str, float]:
    pixels = pixels_of(documents)
    pictures = [engine.picture(each) for each in pixels]
    said = engine.write_texts([(picture,) for picture in pictures], 64)
    asked = asked_of(documents, SOURCE, SPLIT)[: 2 * count]
    place = {id(document): index for index, document in enumerate(documents)}
    prefixes = [(pictures[place[id(document)]], engine.text(question["question"])) for document, question in asked]
    answers = engine.write_texts(prefixes, 24)
    some = slice(max(count // 4, 1))
    codes = engine.encode_pictures(pixels[some])
    samples = [
        Sample("", (), (Branch("x", (engine.text(document["text"]),), Codes(grid)),))
        for document, grid in zip(documents[some], codes, strict=True)
    ]
    return {
        "int8_captions_right": _share([document["text"] for document in documents], said),
        "int8_answers_right": _share([question["answer"] for _, question in asked], answers),
        "int8_nats": float(engine.losses(samples).sum()) / codes.size,
        "asked": len(asked),
        "codes": codes.size,
    }


def _share(true: Sequence[Any], found: Sequence[str]) -> float:
    return float(np.mean([own == other.strip() for own, other in zip(true, found, strict=True)]))


def _speed(engine: Engine, rows: int) -> float:
    """Codes of paintings by second of CPU: steps of a server whose slots are all used."""
    slots, side = Slots(engine, rows, 512), engine.codes_side
    slots.used = [True] * rows
    tokens = torch.full((rows,), engine.vocabulary.text_size)
    began = 0.0
    for step in range(STEPS + WARM):
        if step == WARM:
            began = time.process_time()
        place = torch.tensor([[0, step // side + 1, step % side + 1]]).expand(rows, 3)
        engine.code_logits(slots.step(tokens, place))
    return rows * STEPS / (time.process_time() - began)


def _weights(engine: Engine) -> int:
    """Bytes of the weights of the blocks' linear layers, with the scales of those of 8 bits."""
    layers = [layer for layer in engine.model.blocks.modules() if isinstance(layer, Int8Linear | torch.nn.Linear)]
    return sum(each.numel() * each.element_size() for layer in layers for each in layer.state_dict().values())


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print, write; see the top of this file. 2 for what is wrong with the call."""
    return command("int8", __doc__, measure, {**RUNS, **FLAGS}, words)


if __name__ == "__main__":
    sys.exit(main())
