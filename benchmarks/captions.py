"""Our captions under measurement: python -m benchmarks.captions FILE BEAMS OUT

FILE holds a model and pictures, see `Asked`; OUT becomes the captions, ids of each.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.serve import serve
from m6.data.config import DataConfig
from m6.data.sample import Codes, Picture
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix

MOST = 64
"""Tokens of a caption."""


@dataclass
class Asked:
    """A model, and what it is asked."""

    engine: Engine
    prefixes: list[Prefix]
    most: int = MOST


def write(path: Path, engine: Engine, pictures: list[Picture | Codes]) -> None:
    """The file that programs under measurement read: the weights as they are, and pictures as the model reads them."""
    about = {"model": engine.model, "vocabulary": engine.vocabulary, "size": engine.picture_size, "pictures": pictures}
    torch.save(about, path)


def read(path: Path) -> Asked:
    """What was written."""
    torch.set_flush_denormal(True)
    found: dict[str, Any] = torch.load(path, weights_only=False)
    no_tokenizer: Any = None  # ids are compared, not texts
    engine = Engine(found["model"], found["vocabulary"], no_tokenizer, None, DataConfig(), found["size"])
    return Asked(engine, [(picture,) for picture in found["pictures"]])


def main(path: str, beams: str, out: str) -> None:
    """Serve."""
    asked = read(Path(path))

    def work() -> int:
        found = asked.engine.write(asked.prefixes, asked.most, Decoding(beams=int(beams)))
        torch.save({"captions": found}, out)
        return len(found)

    serve(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
