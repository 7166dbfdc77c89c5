"""A pretraining under measurement, in a process of its own: python -m benchmarks.gpu_step NAME FOLDER TOKENS [--smoke]

NAME is one of SETTINGS, FOLDER holds the corpus of `benchmarks.mixed.write_corpus`, TOKENS are those of a step, about.
It is `m6.train.loop.train` with the task of `m6.train.pretrain`: mixture, packing, worker processes, masks, loss,
clipping and updates are those of any run; it only writes no checkpoint. The last line on standard output is JSON: the
rows of metrics, the first of which is the warm-up, or why there are none.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import torch

from benchmarks.mixed import PATCH_SIZE, open_mixture
from m6.config import UserError
from m6.data.config import DataConfig, Entry
from m6.data.loader import Steps
from m6.model.config import ExpertsConfig, ModelConfig
from m6.model.flops import parameters
from m6.model.sizes import PAPER_VOCABULARY, SIZES
from m6.model.transformer import Transformer
from m6.recipes import quickstart
from m6.run import read_metrics
from m6.tokenizer.vocabulary import Vocabulary
from m6.train.acceleration import accelerate
from m6.train.config import LoopConfig, OptimizerConfig
from m6.train.hardware import choose_device, prepare_cpu
from m6.train.loop import train
from m6.train.pretrain import pretraining

TEXT_CONTEXT = 2048


class Setting(NamedTuple):
    """What is trained. `steps` make a window; one window of warm-up goes before the `windows` that count."""

    model: ModelConfig
    tokens: int  # of a step, for a GPU of 139 GiB
    corpus: Literal["mixed", "text"] = "text"
    context: int = TEXT_CONTEXT
    text_size: int = PAPER_VOCABULARY  # entries of the output layer; 0: no more than the corpus has
    compile: bool = True
    checkpointing: Literal["none", "full"] = "none"
    muon: bool = False
    float8: bool = False
    steps: int = 4
    windows: int = 4


def _model(layers: int, width: int, **experts: int) -> ModelConfig:
    """Heads of 128, feed-forwards of four times the width."""
    return ModelConfig(
        num_layers=layers,
        hidden_size=width,
        num_heads=width // 128,
        ffn_size=4 * width,
        patch_size=PATCH_SIZE,
        experts=ExpertsConfig(**experts),
    )


ONE_B = Setting(_model(20, 2048), tokens=65_536)
SETTINGS = {
    "text_1b": ONE_B,
    "text_3b": Setting(_model(26, 3072), tokens=24_576),
    # Rows of another length than any width: a compiler that meets two equal numbers takes them for one.
    "mixed": Setting(_model(20, 2048), tokens=49_152, corpus="mixed", context=3072),
    "moe_wide": Setting(_model(3, 4096, num_experts=8, top_k=2), tokens=49_152),
    # A layer of M6-100B in the layout with experts in each: 4.3 B weights. With AdamW there is room for one, and the
    # whole vocabulary would be most of its work.
    "moe_narrow": Setting(_model(1, 1024, num_experts=1024, ffn_size=2048), tokens=393_216, text_size=0),
    # Weights, gradients and one momentum are 12 bytes a weight, 114 GiB; AdamW's two moments would be too much. Blocks
    # are not compiled: all memory is what counts, and none of it is the compiler's.
    "step_10b": Setting(SIZES["10b"].model.model_copy(update={"patch_size": PATCH_SIZE}), tokens=16_384, compile=False,
                        checkpointing="full", muon=True, steps=1, windows=2),
    "text_1b_eager": ONE_B._replace(tokens=32_768, compile=False, windows=2),
    "text_1b_float8": ONE_B._replace(float8=True),
}  # fmt: skip
"""By name. Sizes and tokens are chosen so that all fits; AdamW alone unless said, as the records to compare with."""


def measure(name: str, folder: Path, tokens: int, smoke: bool) -> dict[str, Any]:
    """Trains; returns the rows of metrics and what belongs to them. UserError for what cannot be on this machine."""
    setting = small(SETTINGS[name]) if smoke else SETTINGS[name]
    prepare_cpu(1 if smoke else 0)
    steps = _steps(setting, folder, tokens)
    config = _loop(setting, smoke)
    torch.manual_seed(0)
    with torch.device(choose_device(config.device)):  # ten billion weights are drawn where they stay
        model = Transformer(setting.model, steps.vocabulary.size)
    task = pretraining(model, steps)
    compiled: list[int] = []  # pieces of code so far, after each step

    def after_step() -> None:
        task.after_step()
        compiled.append(torch._dynamo.utils.counters["frames"]["total"])

    backend = partial(accelerate, backend="eager" if smoke else "inductor")  # kernels for a CPU would take minutes
    with tempfile.TemporaryDirectory() as run, mock.patch("m6.train.loop.accelerate", backend):
        train(replace(task, after_step=after_step), config, Path(run), name, {})
        rows = read_metrics(Path(run) / "metrics.jsonl")
    recompilations = compiled[-1] - compiled[setting.steps - 1]
    return {
        "rows": [{**row, "recompilations": recompilations} for row in rows],
        "steps": setting.steps,
        "context": setting.context,
        "optimizer": "Muon" if setting.muon else "AdamW",
        "parameters": sum(parameters(setting.model, steps.vocabulary.size).values()),
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_initialized() else 0.0,
    }


def small(setting: Setting) -> Setting:
    """The same in the smallest size. Of all only the mixed setting is compiled, which takes longest."""
    model, experts = setting.model, setting.model.experts
    experts = experts.model_copy(update={"num_experts": min(8, experts.num_experts), "ffn_size": 0})
    size = {"num_layers": min(2, model.num_layers), "hidden_size": 64, "num_heads": 4, "ffn_size": 128}
    model = model.model_copy(update={**size, "experts": experts})
    compiled = setting.compile and setting.corpus == "mixed"
    return setting._replace(model=model, tokens=512, context=192, text_size=0, compile=compiled, steps=1, windows=2)


def _loop(setting: Setting, smoke: bool) -> LoopConfig:
    return LoopConfig(
        num_steps=setting.steps * (1 + setting.windows),
        log_every=setting.steps,
        checkpoint_every=0,
        num_workers=1 if smoke else min(12, max(1, len(os.sched_getaffinity(0)) - 2)),
        device="cpu" if smoke else "cuda",
        precision="float32" if smoke else "bfloat16",
        compile=setting.compile,
        checkpointing=setting.checkpointing,
        float8=setting.float8,
        optimizer=OptimizerConfig(learning_rate=3e-4, muon_learning_rate=0.02 if setting.muon else 0.0),
    )


def _steps(setting: Setting, folder: Path, tokens: int) -> Steps:
    """Steps of about so many tokens: texts as long as a row, or the quickstart's mixture, with all its objectives."""
    if setting.corpus == "text":
        entry = Entry(source="texts", samples=tokens / setting.context, objectives={"language_modelling": 1.0})
        data = DataConfig(mixture=(entry,), row_length=setting.context, max_text=setting.context - 1)
        return _of(setting, folder, data)
    data = quickstart.recipe().pretrain.data
    few = _scaled(data, 1.0, setting.context)
    found = sum(_of(setting, folder, few)[step].num_tokens for step in range(4)) / 4
    return _of(setting, folder, _scaled(data, tokens / found, setting.context))


def _scaled(data: DataConfig, times: float, context: int) -> DataConfig:
    lines = (line.model_copy(update={"first_step": 0, "samples": times * line.samples}) for line in data.mixture)
    return data.model_copy(update={"mixture": tuple(lines), "row_length": context})


def _of(setting: Setting, folder: Path, data: DataConfig) -> Steps:
    vocabulary = Vocabulary(**json.loads((folder / "vocabulary.json").read_text()))
    vocabulary = replace(vocabulary, text_size=setting.text_size or vocabulary.text_size)
    return Steps(open_mixture(folder, data), vocabulary, PATCH_SIZE)


def main(name: str, folder: str, tokens: str, *smoke: str) -> None:
    """Measure, and answer in one line."""
    try:
        answer = measure(name, Path(folder), int(tokens), bool(smoke))
    except torch.OutOfMemoryError as error:
        answer = {"failed": f"out of memory: {str(error).splitlines()[0]}", "out_of_memory": True}
    except UserError as error:
        answer = {"failed": str(error)}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
