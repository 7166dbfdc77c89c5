"""The series: which benchmarks `python -m benchmarks` runs, with which flags, peers, and what has to be made before.

In: nothing. Out: a `Benchmark` by the name of its module, in the order of the work. One process of Python runs each.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

Words = tuple[str, ...]
M6 = (sys.executable, "-m", "m6.cli")
QUICKSTART, PAINT, MINI = Path("runs/quickstart"), Path("runs/paint"), Path("runs/mini")


class Preparation(NamedTuple):
    """A command, and the file that shows that it has been done."""

    command: Words
    done: Path


class Benchmark(NamedTuple):
    """How one is run."""

    peers: Words = ()
    """Environments of `benchmarks.peers.setup`."""
    calls: tuple[Words, ...] = ((),)
    """Flags of each call; their rows stand in one file."""
    before: tuple[Preparation, ...] = ()


def _stages(recipe: str, run: Path) -> tuple[Preparation, ...]:
    """A run as far as its image codes."""
    stages = ("corpus", "tokenizer", "vqgan")
    return tuple(Preparation((*M6, one, recipe, "--out", str(run)), run / one / "done.json") for one in stages)


_TRAINED = (Preparation((*M6, "quickstart", "--out", str(QUICKSTART)), QUICKSTART / "pretrain" / "done.json"),)
_PAINTED = (Preparation((*M6, "pretrain", "paint", "--out", str(PAINT)), PAINT / "pretrain" / "done.json"),)
_LARGE = ("--side", "256", "--runs", "3", "--only", "vs_webdataset", "vs_hf_datasets")
SERIES = {
    "corpus": Benchmark(("data-juicer", "datatrove", "img2dataset")),
    "loader": Benchmark(("webdataset", "hf-datasets"), ((), _LARGE)),
    "train_step": Benchmark(
        ("transformers", "x-transformers"), (("--precision", "float32"), ("--precision", "bfloat16"))
    ),
    "scale": Benchmark(),
    "generate": Benchmark(before=_TRAINED),
    "vqgan": Benchmark(("diffusers",)),
    "text_to_image": Benchmark(),
    "dalle": Benchmark(("dalle-pytorch",), (("--minutes", "2.5"),), before=_stages("paint", PAINT)),
    "serve": Benchmark(before=_TRAINED),
    "int8": Benchmark(before=(*_stages("paint", PAINT), *_PAINTED)),
    "start": Benchmark(("transformers",)),
    "mini": Benchmark(
        calls=(("--only", "mini_first_answer_seconds", "mini_caption_seconds", "mini_pictures16_seconds"),)
    ),
    "contamination": Benchmark(before=_stages("mini", MINI)[:1]),
    "growth": Benchmark(),
}


def smoke(name: str, folder: Path) -> Benchmark:
    """The same in small: no environments are made, and what has to be there before is small too."""
    if name == "dalle":
        run = folder / "run"
        return Benchmark(calls=(("--smoke", "--run", str(run)),), before=_stages("smoke", run))
    if name == "contamination":
        run = folder / "run"
        return Benchmark(calls=(("--smoke", "--run", str(run)),), before=_stages("smoke", run)[:1])
    if name == "int8":
        run = folder / "run"
        trained = Preparation((*M6, "pretrain", "smoke", "--out", str(run)), run / "pretrain" / "done.json")
        return Benchmark(calls=(("--smoke", "--run", str(run)),), before=(*_stages("smoke", run), trained))
    return Benchmark(calls=tuple(("--smoke", *flags) for flags in SERIES[name].calls))
