"""The command line of `m6 tasks`: task files out of the corpus of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from m6 import flags
from m6.config import UserError, nearest
from m6.shipped import is_shipped, run_folder

HELP = """\
m6 tasks RUN --out FOLDER: task files out of a built corpus, for m6 finetune and m6 evaluate.

RUN is a run folder whose corpus is built, or the folder of a corpus.
  --out FOLDER   gets a folder for each task, with train.jsonl, validation.jsonl and test.jsonl

Validation and test come out of what the corpus holds out, and share no concept, key or author; test-picture.jsonl and
test-concept.jsonl are parts of test: unseen pictures of seen concepts, and unseen concepts. What a run with a
tokenizer cannot read whole (pretrain.data.max_text) is left out. A folder that has them is written anew."""


def write(words: Sequence[str]) -> str:
    """What the words ask for; returns a table of counts. UserError for whatever is wrong with them."""
    alone, given = flags.split(words)
    for name in given:
        if name != "out":
            raise UserError(f"--{name}: no such flag{nearest(name, ['out'])}")
    if len(alone) != 1 or "out" not in given:
        raise UserError("m6 tasks takes a run folder and --out FOLDER; see `m6 tasks --help`")
    folder = run_folder(alone[0])
    if is_shipped(folder):
        raise UserError(
            f"{alone[0]} comes with the package without the corpus that task files are made of; build it first:"
            f" m6 corpus {alone[0]}, then give runs/{alone[0]}"
        )
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run folder")
    corpus = folder / "corpus" if (folder / "corpus").is_dir() else folder
    from m6.tasks.from_corpus import write_tasks

    counts = write_tasks(corpus, Path(given["out"]), _readable_by(folder))
    width = max((len(task) for task in counts), default=0) + 2
    rows = (
        f"  {task:<{width}}{', '.join(f'{name} {n:,}' for name, n in sorted(of.items()))}"
        for task, of in counts.items()
    )
    return "\n".join([f"{given['out']}: task files of {corpus}", *rows])


def _readable_by(folder: Path) -> Callable[[str], bool]:
    """Whether a run reads a text whole; of a folder without a tokenizer nothing is known, so every text is kept."""
    vocabulary = folder / "tokenizer" / "tokenizer.json"
    if not vocabulary.is_file():
        return lambda text: True
    from m6.data.config import DataConfig
    from m6.tokenizer.text import TextTokenizer

    tokenizer, most = TextTokenizer.load(vocabulary), DataConfig.read(folder / "config.json", "pretrain.data").max_text
    return lambda text: len(tokenizer.encode(text)) <= most
