"""Trains the text vocabulary on the training texts of a corpus, or takes that of another run; writes
`tokenizer.json`."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from m6.config import UserError
from m6.run import Run, write_atomic
from m6.shards import Shards
from m6.shipped import run_folder
from m6.tokenizer.config import TokenizerConfig
from m6.tokenizer.vocabulary import SPECIALS

BYTES = [f"<0x{value:02X}>" for value in range(256)]


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig) -> Tokenizer:
    """A byte-pair tokenizer with byte fallback.

    Pieces never cross punctuation, digits or spaces, and hold at most `max_piece` characters. The most frequent
    characters come in, among equals those of the lower code point, so that the same texts give the same vocabulary
    (`tokenizers` itself picks among equals by chance). Specials and bytes stand first in the vocabulary, but no text
    is taken for one of them: "<mask>" in a text is six characters.
    """
    reserved = [*SPECIALS, *BYTES]
    texts = list(texts)
    counts = Counter(itertools.chain.from_iterable(texts))
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    alphabet = ranked[: max(0, config.vocab_size - len(reserved))]
    learner = Tokenizer(models.BPE())
    width = config.max_piece
    words = Regex(rf"\p{{Han}}{{1,{width}}}|[A-Za-z]{{1,{width}}}|.|\n")
    learner.pre_tokenizer = pre_tokenizers.Split(words, behavior="isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=reserved,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = Tokenizer(models.BPE(learnt["vocab"], merges, byte_fallback=True))
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def run(run: Run, config: TokenizerConfig) -> dict[str, float]:
    """Trains on titles, texts and questions of the run's training documents; writes `tokenizer/tokenizer.json`.
    UserError if the vocabulary of another run is wanted and not there."""
    table = Shards(run.folder / "corpus").columns(["split", "source", "title", "text", "questions", "attributes"])
    texts: list[str] = []
    for row in table.to_pylist():
        if row["split"] == "train":
            asked = [words for question in row["questions"] for words in (question["question"], question["answer"])]
            texts += [row["title"], row["text"], dict(row["attributes"] or []).get("form", ""), *asked]
    tokenizer = _taken(run_folder(config.start_from)) if config.start_from else train_tokenizer(texts, config)
    write_atomic(run.stage("tokenizer") / "tokenizer.json", tokenizer.to_str(pretty=True))
    characters = sum(len(text) for text in texts)
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False))
    return {"size": tokenizer.get_vocab_size(), "characters": characters, "tokens_per_character": tokens / characters}


def _taken(run: Path) -> Tokenizer:
    path = run / "tokenizer" / "tokenizer.json"
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers has no errors of its own
        raise UserError(f"tokenizer.start_from: {path} cannot be read ({error}); give the folder of a run") from None
