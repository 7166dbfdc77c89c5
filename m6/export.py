"""`m6 export`: a trained run as a folder that transformers reads, as ONNX, its weights alone, or a small run folder.

In: a run folder, of which a training has written a checkpoint, by any number of ranks. Out: a folder with the weights,
whole, in one file or in several with an index; all that transformers needs beside them; the resolved recipe; and
state.json with the hashes.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m6 import flags
from m6.config import UserError, nearest
from m6.run import check_writable, read_done, sync_folder, write_atomic
from m6.shipped import run_folder

if TYPE_CHECKING:
    from m6.model.export import Exported

HELP = """\
m6 export RUN --out FOLDER [--form FORM] [--step N] [--shard-gib X]: a run as a folder that others read.

RUN is a run folder, pretrained or finetuned, that has a checkpoint, or mini; it may still be training.
  --out FOLDER   a folder that is not there yet
  --form FORM    huggingface (by default): all that transformers reads; onnx: that, and model.onnx, held against the
                 model; weights: no more than the weights, which needs no transformers; packed: a run folder with
                 what asking it and beginning with it needs, its matrices in 8 bits, a quarter of their bytes
  --step N       the checkpoint of this update, by default the newest
  --shard-gib X  most GiB of a file (5); what needs more than one gets model.safetensors.index.json

FOLDER then holds model.safetensors, or model-00001-of-0000N.safetensors; recipe.json, the resolved recipe;
tokenizer.json; state.json, the step and the SHA-256 of the weights; and, unless weights alone are wanted, config.json,
generation_config.json, the processor, and README.md, the model card. After `import m6`, the Auto classes of
transformers read it. One file of weights at a time is in memory, of ONNX all."""
FORMS = ("huggingface", "onnx", "weights", "packed")
GIB = 2**30


def export(words: Sequence[str]) -> str:
    """What the words of the command line ask for; returns a line about it. UserError for whatever is wrong with them,
    with the run or with the folder."""
    alone, given = flags.split(words)
    known = ("out", "form", "step", "shard_gib")
    for name in given:
        if name not in known:
            raise UserError(f"--{name.replace('_', '-')}: no such flag{nearest(name, known)}")
    if len(alone) != 1 or "out" not in given:
        raise UserError("m6 export takes a run folder and --out FOLDER; see `m6 export --help`")
    run, out = run_folder(alone[0]), Path(given["out"])
    form = given.get("form", FORMS[0])
    if form not in FORMS:
        raise UserError(f"--form: {form!r} is none of {', '.join(FORMS)}{nearest(form, FORMS)}")
    most = _gib(given.get("shard_gib", "5"))
    checkpoint = _checkpoint(run, given.get("step"))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: not empty; give --out a folder that is not there yet")
    check_writable(out.absolute().parent, "--out")
    for path in (run / "config.json", run / "tokenizer" / "tokenizer.json"):
        if not path.is_file():
            raise UserError(f"{path}: missing; {run} is no whole run folder")
    _check_packages(form)
    from m6.train.ended import warn

    warn(run)
    return _write(checkpoint, out, most, run, form)


def _check_packages(form: str) -> None:
    needed = {"huggingface": ("transformers",), "onnx": ("transformers", "onnxscript", "onnxruntime")}
    for name in needed.get(form, ()):
        if importlib.util.find_spec(name) is None:
            extra = "huggingface" if name == "transformers" else "onnx"
            raise UserError(
                f"--form {form} needs {name}: pip install 'open-m6[{extra}]', or take --form weights, which needs none"
            )


def _write(checkpoint: Path, out: Path, most: int, run: Path, form: str) -> str:
    from m6.model.export import export_weights

    out = out.absolute()
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        if form == "packed":
            exported, told = _pack(checkpoint, temporary, run), ""
        else:
            exported = export_weights(checkpoint, temporary, most)
            write_atomic(temporary / "recipe.json", (run / "config.json").read_bytes())
            told = _beside(run, temporary, form)
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
    size = f"{exported.size / GIB:.2f} GiB" if exported.size >= GIB else f"{exported.size / 2**20:.1f} MiB"
    return (
        f"{out}: {exported.tensors:,} tensors of update {exported.step:,}, {size} in"
        f" {exported.files} file{'s' if exported.files > 1 else ''}{told}"
    )


def _pack(checkpoint: Path, folder: Path, run: Path) -> Exported:
    """Writes a run folder of the weights in 8 bits, and of the image tokenizer as it is: its codes have to stay."""
    from m6.model.export import pack_weights
    from m6.model.weights import beside, check_beside, newest

    check_beside(checkpoint, run)
    (folder / "tokenizer").mkdir()
    write_atomic(folder / "config.json", _alone((run / "config.json").read_text(encoding="utf-8")))
    for name in ("versions.json", "tokenizer/tokenizer.json", "README.md"):
        if (run / name).exists():
            write_atomic(folder / name, (run / name).read_bytes())
    pack_weights(newest(run / "vqgan", "vqgan"), folder / "vqgan", {}, exact=True)
    stage = checkpoint.parent.name
    exported = pack_weights(checkpoint, folder / stage, {"beside": beside(folder)})
    if read_done(run, stage) is not None:
        write_atomic(folder / stage / "done.json", (run / stage / "done.json").read_bytes())
    return exported


def _alone(config: str) -> str:
    """The config of a run that stands alone: where another lay that it began with means nothing elsewhere."""
    sections = json.loads(config)
    for section in sections.values():
        if isinstance(section, dict) and section.get("start_from"):
            section["start_from"] = ""
            if "frozen" in section:  # which asks for weights to take over
                section["frozen"] = False
    return json.dumps(sections, indent=2, ensure_ascii=False) + "\n"


def _beside(run: Path, folder: Path, form: str) -> str:
    """Writes what stands beside the weights; returns what there is to tell of it."""
    if form == "weights":
        write_atomic(folder / "tokenizer.json", (run / "tokenizer" / "tokenizer.json").read_bytes())
        return ""
    for name in ("torchao", "torch.utils._pytree"):  # they complain while transformers loads what is not used here
        logging.getLogger(name).setLevel(logging.ERROR)
    from m6.interop.folder import write_beside

    write_beside(run, folder)
    if form == "huggingface":
        return ""
    from m6.interop.onnx import export_onnx

    return f"; model.onnx differs from it by {export_onnx(folder):.1e} at most"


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
