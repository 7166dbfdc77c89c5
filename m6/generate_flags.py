"""The flags of `m6 generate`, and the checks of what is given to a trained run: the run folder and the picture.

Options that are not given are not passed on: their defaults are those of the functions in `m6.generate.answers`.
"""

from __future__ import annotations

import argparse
import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from m6.config import UserError
from m6.run import read_done, write_atomic

if TYPE_CHECKING:
    from PIL.Image import Image

SIDES = (8, 8192)  # pixels: smaller shows nothing, larger is a mistake or an attack on the memory

_KINDS = {
    "caption": "say what is in a picture",
    "answer": "answer a question about a picture",
    "poem": "write a poem to a title",
    "paint": "paint a picture for a prompt",
}


class _Parser(argparse.ArgumentParser):
    """Tells a mistake in one line, as all of m6 does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


def parse(words: Sequence[str]) -> dict[str, Any] | None:
    """The arguments of a generate command by name, `kind` among them; None if its help was asked for and printed."""
    parser, kinds = _parsers()
    try:
        arguments, unknown = parser.parse_known_args(words)
    except SystemExit:  # how argparse ends after a help page
        return None
    if unknown:
        known = [option for action in kinds[arguments.kind]._actions for option in action.option_strings]
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f", did you mean {close[0]}?" if close else ","
        raise UserError(f"{unknown[0]}: no such option{hint} see `m6 generate {arguments.kind} --help`")
    return vars(arguments)


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(prog="m6 generate", description="Ask a trained run.", allow_abbrev=False)
    choice = parser.add_subparsers(dest="kind", required=True, metavar="KIND", parser_class=_Parser)
    kinds = {
        kind: choice.add_parser(
            kind, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        for kind, text in _KINDS.items()
    }  # fmt: skip
    for kind in ("caption", "answer"):
        kinds[kind].add_argument(
            "--image", type=Path, required=True, metavar="FILE", help="a picture: PNG, JPEG, WebP, ..."
        )
    kinds["answer"].add_argument("--question", type=_text, required=True, metavar="TEXT", help="such as 这是什么？")
    kinds["answer"].add_argument(
        "--choices", type=_text, nargs="+", metavar="TEXT", help="the answers that are allowed, such as 是 不是"
    )
    for kind in ("caption", "answer"):
        kinds[kind].add_argument("--max-tokens", type=int, metavar="N", help="tokens of what is written, at the most")
    kinds["poem"].add_argument("--title", type=_text, required=True, metavar="TEXT", help="such as 春晓")
    kinds["poem"].add_argument(
        "--form", type=_text, metavar="FORM", help="such as 五言绝句, 七言绝句, 五言律诗 or 七言律诗"
    )
    kinds["paint"].add_argument("--prompt", type=_text, required=True, metavar="TEXT", help="such as 红苹果")
    kinds["paint"].add_argument(
        "--output", type=Path, default=Path("painting.png"), metavar="FILE", help="the PNG to write (painting.png)"
    )
    kinds["paint"].add_argument(
        "--guidance",
        type=float,
        metavar="X",
        help="how strictly to follow the prompt; 1 is not at all more than learnt",
    )
    for sub in kinds.values():
        sub.add_argument(
            "--run", type=Path, default=Path("runs/quickstart"), metavar="DIR", help="a trained run (runs/quickstart)"
        )
        sub.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same result")
        sub.add_argument("--temperature", type=float, metavar="X", help="0 takes the likeliest, 1 samples as learnt")
        sub.add_argument("--top-k", type=int, metavar="N", help="sample among the N likeliest only")
        sub.add_argument("--top-p", type=float, metavar="X", help="sample among the likeliest that make up X")
    for kind in ("caption", "answer", "poem"):
        _add_decoding(kinds[kind])
    return parser, kinds


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    """What `m6.generate.decoding.Decoding` has beyond sampling."""
    add = parser.add_argument
    add("--beams", type=int, metavar="N", help="beam search: follow N answers up at once, such as 5")
    add("--length-penalty", type=float, metavar="X", help="of beam search: above 1 favours long answers, 0 short ones")
    add("--contrast", type=float, metavar="X", help="contrastive search: how much unlike before counts, such as 0.6")
    add("--no-repeat-ngram", type=int, metavar="N", help="never write the same N tokens in a row twice")
    add("--repetition-penalty", type=float, metavar="X", help="make what was written less likely, such as 1.2")
    add("--min-tokens", type=int, metavar="N", help="write so many tokens at least")


def _text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("the text is empty")
    return value


def trained_run(folder: Path) -> Path:
    """The same folder. Raises UserError unless it holds a run whose training has ended."""
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: no run folder, make one with `m6 quickstart` or name another with --run")
    if read_done(folder, "pretrain") is None and read_done(folder, "finetune") is None:
        verb = "finetune" if (folder / "finetune").exists() else "pretrain"
        raise UserError(f"{folder}: its training has not ended, run `m6 {verb} {folder}` first")
    return folder


def check_image(path: Path) -> None:
    """Raises UserError unless the file is a whole picture of a sensible size."""
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            if not SIDES[0] <= min(image.size) <= max(image.size) <= SIDES[1]:
                raise UserError(
                    f"{path}: {image.width}x{image.height} pixels, each side has to be from {SIDES[0]} to {SIDES[1]}"
                )
            image.load()
    except Image.DecompressionBombError:
        raise UserError(f"{path}: too many pixels, each side has to be from {SIDES[0]} to {SIDES[1]}") from None
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a picture that can be read (PNG, JPEG, WebP, GIF, BMP, ...)") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on broken files of one format or another
        raise UserError(f"{path}: a broken picture ({error})") from None


def save_png(image: Image, path: Path) -> None:
    """Write a picture as PNG, atomically."""
    if not path.parent.is_dir():
        raise UserError(f"{path}: no folder {path.parent}, make it first")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())
