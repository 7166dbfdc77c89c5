"""Trains a fluency model on clean text: `python -m m6.corpus.text.fluency --paths clean.jsonl --out model.npz`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from m6.config import UserError
from m6.corpus.config import JsonLinesConfig
from m6.corpus.drop import Drop
from m6.corpus.sources import jsonl
from m6.corpus.text.fluency import train

COUNTS = (1, 3, 10, 30, 100, 300, 1_000)  # of records that could not be read: say so now and then


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 2 if nothing can be made of what was given."""
    parser = argparse.ArgumentParser(prog="python -m m6.corpus.text.fluency", description=__doc__)
    parser.add_argument("--paths", nargs="+", required=True, metavar="FILE", help="JSON lines of clean text")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the model to write, .npz")
    parser.add_argument("--text-field", default="text", metavar="NAME", help="field with the text (text)")
    parser.add_argument("--most", type=int, default=0, metavar="N", help="n-grams to keep; 0 keeps all (0)")
    options = parser.parse_args(arguments)
    try:
        if options.out.suffix != ".npz" or not options.out.parent.is_dir():
            raise UserError(f"--out {options.out}: give a name that ends in .npz, in a folder that is there")
        if options.most < 0:
            raise UserError(f"--most {options.most}: give 0 or more")
        model = train(_texts(tuple(options.paths), options.text_field), most=options.most)
        model.save(options.out)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sizes = (len(model.parts.characters), len(model.parts.symbols_2), len(model.parts.symbols_3))
    print("{}: {:,} characters, {:,} bigrams, {:,} trigrams".format(options.out, *sizes))
    return 0


def _texts(paths: tuple[str, ...], field: str) -> Iterator[str]:
    """The texts of the files; a line on stderr for what cannot be read."""
    config = JsonLinesConfig(paths=paths, text_field=field)
    dropped = 0
    for part in jsonl.parts("fluency", config):
        for item in jsonl.read(part, config, seed=0):
            if not isinstance(item, Drop):
                yield item["text"]
                continue
            dropped += 1
            if dropped in COUNTS:
                print(f"left out, {dropped:,} until here: {item.reason} ({item.where})", file=sys.stderr)
    if dropped:
        print(f"{dropped:,} records were left out", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
