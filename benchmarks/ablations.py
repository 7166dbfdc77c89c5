"""What choices of the model and its training are worth: the same training with one thing changed, by several seeds.

    m6 corpus starter && m6 tokenizer starter       # once: corpus and vocabulary, in runs/starter
    python -m benchmarks.ablations runs/starter --out runs/ablations [--only NAME ...] [--seeds N] [--steps N]
                                                [--json FILE] [--curve FILE]

The run may be another one with sources of the starter, such as one of the recipe `tasks`; those that it has are taken.
Each training is a run folder of its own under --out, so what was stopped goes on, and what is done is not done again.
What counts is the loss on held-out documents, in nats a label: `heldout/loss`, as training weights it, and that of each
objective. Runs of one seed see the same documents in the same order. `--curve` draws `experts` over `dense` as SVG.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.command import check
from benchmarks.curve import curve_svg
from benchmarks.rows import call_of, hardware, today
from benchmarks.runners import say
from m6.config import UserError, nearest
from m6.corpus.config import CorpusConfig
from m6.model import transformer
from m6.model.config import ModelConfig
from m6.model.sizes import SIZES
from m6.recipes import starter
from m6.recipes.recipe import Recipe
from m6.run import Run, read_done, read_metrics, write_atomic

ABOUT_TEXT = ("language_modelling", "text_denoising")
ABOUT_PICTURES = ("captioning", "visual_question_answering", "image_denoising", "matching")
NOTHING = contextlib.nullcontext
LONGEST = 1024  # positions of the learned kind


@contextlib.contextmanager
def order_alone() -> Iterator[None]:
    """Rotary positions on the order of tokens alone, as in a text model; rows and columns keep their embeddings."""

    def flat(position: Tensor, head_size: int, base: float) -> Tensor:
        angle = position[..., 0, None].float() * base ** -(torch.arange(head_size // 2) / (head_size // 2))
        return torch.polar(torch.ones_like(angle), angle)

    with mock.patch.object(transformer, "rotary", flat):
        yield


@contextlib.contextmanager
def text_on_all_axes() -> Iterator[None]:
    """Rows and columns of a picture count from its place in the order, where text stands on all three axes (as in
    Qwen2-VL, arXiv 2409.12191): all pairs turn with the order of a text, not half of them."""
    plain = vars(transformer)["rotary"]

    def shifted(position: Tensor, head_size: int, base: float) -> Tensor:
        order = position[..., :1]
        return plain(torch.cat([order, position[..., 1:] + order], dim=-1), head_size, base)

    with mock.patch.object(transformer, "rotary", shifted):
        yield


@contextlib.contextmanager
def learned_order() -> Iterator[None]:
    """A learned embedding of the order is added to the input, as in BERT; nothing is rotated."""
    make, forward = transformer.Transformer.__init__, transformer.Transformer.forward

    def still(position: Tensor, head_size: int, base: float) -> Tensor:
        return torch.ones(*position.shape[:2], head_size // 2, dtype=torch.complex64)

    def made(self: Any, config: ModelConfig, *rest: Any) -> None:
        make(self, config, *rest)
        self.order_embedding = nn.Embedding(LONGEST, config.hidden_size)
        nn.init.normal_(self.order_embedding.weight, std=config.init_std)

    def with_order(self: Any, ids: Tensor, position: Tensor, *rest: Any, **named: Any) -> Tensor:
        row = self.row_embedding.forward
        added = self.order_embedding(position[..., 0])
        with mock.patch.object(self.row_embedding, "forward", lambda rows: row(rows) + added):
            return forward(self, ids, position, *rest, **named)

    with (
        mock.patch.object(transformer, "rotary", still),
        mock.patch.object(transformer.Transformer, "__init__", made),
        mock.patch.object(transformer.Transformer, "forward", with_order),
    ):
        yield


@contextlib.contextmanager
def rms_norm() -> Iterator[None]:
    """RMSNorm in the place of every norm, those of queries and keys too."""
    plain = F.layer_norm

    def normed(x: Tensor, shape: Sequence[int], weight: Tensor | None = None, *rest: Any) -> Tensor:
        return F.rms_norm(x, shape, weight) if len(shape) == 1 else plain(x, shape, weight, *rest)

    with mock.patch.object(F, "layer_norm", normed):
        yield


@contextlib.contextmanager
def bare_queries() -> Iterator[None]:
    """Queries and keys are not normalised."""
    plain = F.layer_norm

    def normed(x: Tensor, *rest: Any) -> Tensor:
        return x if x.dim() == 5 else plain(x, *rest)  # [B, T, 2, H, K]

    with mock.patch.object(F, "layer_norm", normed):
        yield


@dataclass(frozen=True)
class Change:
    """One thing that is changed: fields of the recipe, weights of objectives, or code while it trains."""

    about: str
    fields: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    code: Callable[[], contextlib.AbstractContextManager[None]] = NOTHING


ADAMW = "pretrain.loop.optimizer.muon_learning_rate"
RATE = "pretrain.loop.optimizer.learning_rate"
CHANGES = {
    "dense": Change("as recipes have it"),
    "experts": Change("8 experts in every layer, top-1", {"model.experts.num_experts": 8}),
    "order_alone": Change("rotary positions on order alone", code=order_alone),
    "text_on_all_axes": Change("text stands on all three axes", code=text_on_all_axes),
    "learned_order": Change("learned positions, nothing rotated", code=learned_order),
    "rms_norm": Change("RMSNorm for LayerNorm", code=rms_norm),
    "bare_queries": Change("queries and keys not normalised", code=bare_queries),
    "adamw_3e-3": Change("AdamW for all, peak 3e-3", {ADAMW: 0.0, RATE: 3e-3}),
    "adamw_1e-3": Change("AdamW for all, peak 1e-3", {ADAMW: 0.0, RATE: 1e-3}),
    "no_captioning": Change("no captioning", weights={"captioning": 0.0}),
    "no_questions": Change("no questions about pictures", weights={"visual_question_answering": 0.0}),
    "no_denoising": Change("no denoising", weights={"text_denoising": 0.0, "image_denoising": 0.0}),
    "no_matching": Change("no matching", weights={"matching": 0.0}),
    "pictures_alone": Change("pictures with text, no text alone", weights=dict.fromkeys(ABOUT_TEXT, 0.0)),
    "texts_alone": Change("texts, no pictures", weights=dict.fromkeys(ABOUT_PICTURES, 0.0)),
}


def recipe(change: Change, seed: int, steps: int, sources: Collection[str] = tuple(starter.SOURCES)) -> Recipe:
    """The starter's mixture of these sources, without painting, on the nano size; held-out documents are looked at a
    dozen times.

    An objective that is left out keeps its place in the batches, with a weight of 0, so that it is scored."""
    base = starter.recipe()
    entries = []
    for entry in base.pretrain.data.mixture:
        if entry.source in sources and "text_to_image" not in entry.objectives:
            weights = {name: change.weights.get(name, weight) for name, weight in entry.objectives.items()}
            entries.append({**entry.model_dump(), "objectives": weights})
    loop = {"num_steps": steps, "heldout_every": max(10, steps // 12 // 10 * 10), "heldout_batches": 16,
            "checkpoint_every": 200, "keep_checkpoints": 1}  # fmt: skip
    return base.override({
        "seed": seed,
        "model": {**SIZES["nano"].model.model_dump(), "patch_size": 16, "stem": "linear"},
        "pretrain.data.mixture": entries,
        **{f"pretrain.loop.{name}": value for name, value in loop.items()},
        **change.fields,
    })  # fmt: skip


def measure(source: Path, out: Path, name: str, seed: int, steps: int) -> list[dict[str, Any]]:
    """The rows of metrics of one training, which is done if it is not."""
    from m6.stages import run_stage

    folder = out / f"{name}-{seed}"
    chosen = recipe(CHANGES[name], seed, steps, CorpusConfig.read(source / "config.json", "corpus").sources)
    if read_done(folder, "pretrain") is None:
        say(f"{name}, seed {seed}: {CHANGES[name].about}")
        run = Run.open(folder, chosen)
        for stage in ("corpus", "tokenizer"):
            if not (run.folder / stage).exists():
                (run.folder / stage).symlink_to((source / stage).resolve(), target_is_directory=True)
        run.finish("vqgan", seconds=0.0)  # pictures are read as pixels, and none are painted
        with CHANGES[name].code():
            run_stage("pretrain", folder, chosen)
    return read_metrics(folder / "pretrain" / "metrics.jsonl")


def scores(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What a training ended with: held-out losses, and seconds of a step."""
    last = rows[-1]
    held = {name: last[f"heldout/loss/{name}"] for name in (*ABOUT_TEXT, *ABOUT_PICTURES)}
    seconds = statistics.median(row["seconds"] / (row["step"] - before["step"]) for before, row in pairwise(rows))
    return {"heldout": last["heldout/loss"], **held, "seconds a step": seconds}


def looks(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Step and held-out loss, wherever it was looked at."""
    return [(row["step"], row["heldout/loss"]) for row in rows if "heldout/loss" in row]


def steps_to_reach(rows: Sequence[dict[str, Any]], loss: float) -> float | None:
    """The step, between two looks by a straight line, at which the held-out loss falls to `loss` for the first time."""
    for (before, high), (after, low) in pairwise(looks(rows)):
        if low <= loss < high:
            return float(before + (after - before) * (high - loss) / (high - low))
    return None


def main(words: Sequence[str] | None = None) -> int:
    """Train what is not trained, print the table; see the top of this file. 2 for what is wrong with the call."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.ablations", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="RUN", help="a run of the starter with corpus and tokenizer")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the trainings stand")
    parser.add_argument("--only", nargs="+", default=list(CHANGES), metavar="NAME", help=", ".join(CHANGES))
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (3)")
    parser.add_argument("--steps", type=int, default=600, help="updates of each (600)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to this file")
    parser.add_argument("--curve", type=Path, metavar="FILE", help="draw held-out losses of dense and experts as SVG")
    given = parser.parse_args(words)
    try:
        check(given)
        given.command = call_of("ablations", words)
        return report(given)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2


def report(given: argparse.Namespace) -> int:
    """Measures, prints and writes what the words of the call ask for. UserError for what is wrong with them."""
    for name in given.only:
        if name not in CHANGES:
            raise UserError(f"ablations: no change {name!r}{nearest(name, CHANGES)}")
    for stage in ("corpus", "tokenizer"):
        if read_done(given.source, stage) is None:
            make = " && ".join(f"m6 {each} starter --out {given.source}" for each in ("corpus", "tokenizer"))
            raise UserError(f"ablations: {given.source} has no finished {stage}; make it with `{make}`")
    rows: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in given.only}
    for seed in range(given.seeds):  # by seed, so that what is stopped has something of everything
        for name in given.only:
            rows[name].append(measure(given.source, given.out, name, seed, given.steps))
    found = {name: [scores(one) for one in runs] for name, runs in rows.items()}
    print(table(found))
    if "dense" in rows and "experts" in rows:
        ends = [dense[-1]["heldout/loss"] for dense in rows["dense"]]
        reached = [steps_to_reach(runs, end) for runs, end in zip(rows["experts"], ends, strict=True)]
        shown = ", ".join("not reached" if step is None else f"{step:.0f}" for step in reached)
        print(f"experts reach the last held-out loss of dense ({given.steps} steps) at step {shown}, by seed")
        if given.curve:
            write_atomic(given.curve, curve_svg({name: rows[name] for name in ("dense", "experts")}, "heldout/loss"))
    if given.json:
        curves = {name: [looks(one) for one in runs] for name, runs in rows.items()}
        about = {"command": given.command, "seed": list(range(given.seeds)), "hardware": hardware(), "date": today()}
        about |= {"steps": given.steps}
        write_atomic(given.json, json.dumps(about | {"scores": found, "curves": curves}, indent=1) + "\n")
    return 0


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Means over seeds, with the deviation of a seed from the mean behind ±; lines of Markdown."""
    columns = list(next(iter(found.values()))[0])
    lines = [f"| change | {' | '.join(columns)} |", f"| --- |{' --- |' * len(columns)}"]
    for name, runs in found.items():
        cells = []
        for column in columns:
            values = [run[column] for run in runs]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
