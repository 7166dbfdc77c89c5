"""`m6 export`: the weights of a trained run in one folder of safetensors, as Hugging Face's tools lay them out.

In: a run folder, of which a training has written a checkpoint, by any number of ranks. Out: a folder with the weights,
whole, in one file or in several with an index; the resolved config; the tokenizer; and state.json with the hashes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from m6 import flags
from m6.config import UserError, nearest
from m6.run import sync_folder, write_atomic

HELP = """\
m6 export RUN --out FOLDER [--step N] [--shard-gib X]: the weights of a run as one folder of safetensors.

RUN is a run folder, pretrained or finetuned, that has a checkpoint; it may still be training.
  --out FOLDER   a folder that is not there yet
  --step N       the checkpoint of this update, by default the newest
  --shard-gib X  most GiB of a file (5); what needs more than one gets model.safetensors.index.json

FOLDER then holds model.safetensors, or model-00001-of-0000N.safetensors; config.json, the resolved recipe;
tokenizer.json; and state.json, the step and the SHA-256 of the weights. One file at a time is in memory."""
GIB = 2**30


def export(words: Sequence[str]) -> str:
    """What the words of the command line ask for; returns a line about it. UserError for whatever is wrong with them,
    with the run or with the folder."""
    alone, given = flags.split(words)
    known = ("out", "step", "shard_gib")
    for name in given:
        if name not in known:
            raise UserError(f"--{name.replace('_', '-')}: no such flag{nearest(name, known)}")
    if len(alone) != 1 or "out" not in given:
        raise UserError("m6 export takes a run folder and --out FOLDER; see `m6 export --help`")
    run, out = Path(alone[0]), Path(given["out"])
    most = _gib(given.get("shard_gib", "5"))
    checkpoint = _checkpoint(run, given.get("step"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; give --out a folder that is not there yet")
    beside = {"config.json": run / "config.json", "tokenizer.json": run / "tokenizer" / "tokenizer.json"}
    for path in beside.values():
        if not path.is_file():
            raise UserError(f"{path}: missing; {run} is no whole run folder")
    from m6.train.ended import warn

    warn(run)
    return _write(checkpoint, out, most, beside)


def _write(checkpoint: Path, out: Path, most: int, beside: dict[str, Path]) -> str:
    from m6.model.export import export_weights

    out = out.absolute()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        exported = export_weights(checkpoint, temporary, most)
        for name, path in beside.items():
            write_atomic(temporary / name, path.read_bytes())
        os.replace(temporary, out)
    except FileNotFoundError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if checkpoint.exists():
            raise
        line = f"{checkpoint}: the training has removed it meanwhile; try again, or give a --step that is kept"
        raise UserError(line) from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(out.parent)
    return (
        f"{out}: {exported.tensors:,} tensors of update {exported.step:,}, {exported.size / GIB:.2f} GiB in"
        f" {exported.files} file{'s' if exported.files > 1 else ''}"
    )


def _checkpoint(run: Path, step: str | None) -> Path:
    from m6.model.weights import checkpoints, newest_weights

    if not (run / "config.json").is_file():
        raise UserError(f"{run}: no run folder (no config.json)")
    last = newest_weights(run)
    if step is None:
        return last
    found = {str(int(path.name.removeprefix("step-"))): path for path in checkpoints(last.parent)}
    if step not in found:
        raise UserError(f"--step: no checkpoint of update {step}; there are {', '.join(found)}")
    return found[step]


def _gib(text: str) -> int:
    try:
        most = float(text)
    except ValueError:
        most = 0.0
    if not 0 < most < float("inf"):
        raise UserError(f"--shard-gib: {text!r} is not a number above 0")
    return max(1, int(most * GIB))
