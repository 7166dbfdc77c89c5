"""The flags of `m6 generate`, and the checks of what is given to a trained run: the run folder and the picture.

Options that are not given are not passed on: their defaults are those of the functions in `m6.generate.answers` and
`m6.generate.paintings`.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from m6.config import UserError
from m6.run import read_done
from m6.shipped import DEFAULT, run_folder, told

SIDES = (8, 8192)  # pixels: smaller shows nothing, larger is a mistake or an attack on the memory

_KINDS = {
    "caption": "say what is in a picture",
    "answer": "answer a question, about a picture or without one",
    "match": "say how well each of some texts fits a picture, best first",
    "describe": "describe a product by its title, attributes and picture, any of them or all",
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
    if any(word.split("=")[0] == "--task" for word in words):
        words = _asked_by_task(words)
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
    for kind in ("caption", "answer", "match", "describe"):
        kinds[kind].add_argument(
            "--image",
            type=Path,
            required=kind in ("caption", "match"),
            metavar="FILE",
            help="a picture: PNG, JPEG, WebP, ...",
        )
    kinds["answer"].add_argument(
        "--question", type=_text, required=True, metavar="TEXT",
        help="such as 这是什么？, or 成语“画蛇添足”是什么意思？ without a picture",
    )  # fmt: skip
    kinds["match"].add_argument(
        "--text", type=_text, required=True, action="append", dest="texts", metavar="TEXT",
        help="such as 红苹果; give it once for each text",
    )  # fmt: skip
    kinds["describe"].add_argument("--title", type=_text, metavar="TEXT", help="such as 晴雨伞")
    kinds["describe"].add_argument(
        "--attributes", type=_attribute, nargs="+", metavar="NAME=VALUE", help="such as 颜色=红 重量=300克"
    )
    kinds["answer"].add_argument(
        "--choices", type=_text, nargs="+", metavar="TEXT", help="the answers that are allowed, such as 是 不是"
    )
    for kind in ("caption", "answer", "describe"):
        kinds[kind].add_argument("--max-tokens", type=int, metavar="N", help="tokens of what is written, at the most")
    kinds["poem"].add_argument("--title", type=_text, required=True, metavar="TEXT", help="such as 春晓")
    kinds["poem"].add_argument(
        "--form",
        type=_text,
        metavar="FORM",
        help="五言绝句, 七言绝句, 五言律诗, 七言律诗, 五言古诗 or 七言古诗; 五绝 and the like for short",
    )
    _add_painting(kinds["paint"])
    for kind, sub in kinds.items():
        sub.add_argument(
            "--run",
            type=run_folder,
            default=DEFAULT,
            metavar="DIR",
            help="a trained run; by default mini, that of the package",
        )
        sub.add_argument(
            "--int8", action="store_true", default=argparse.SUPPRESS, help="compute in 8 bits: less memory, less exact"
        )
        if kind == "match":  # nothing is drawn
            continue
        sub.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same result")
        sub.add_argument("--temperature", type=float, metavar="X", help="0 takes the likeliest, 1 samples as learnt")
        sub.add_argument("--top-k", type=int, metavar="N", help="sample among the N likeliest only")
        sub.add_argument("--top-p", type=float, metavar="X", help="sample among the likeliest that make up X")
    for kind in ("caption", "answer", "describe", "poem"):
        _add_decoding(kinds[kind])
    return parser, kinds


def _add_painting(parser: argparse.ArgumentParser) -> None:
    """What `m6.generate.paintings.Wanted` has."""
    add = parser.add_argument
    add("--prompt", type=_text, required=True, metavar="TEXT", help="such as 红苹果")
    add(
        "--output", type=Path, default=Path("painting.png"), metavar="PATH",
        help="the PNG to write (painting.png); or a folder, for several pictures and a sheet of all",
    )  # fmt: skip
    add("--n", type=int, metavar="N", help="candidates, of the seeds --seed, --seed + 1, ...")
    add("--best", type=int, metavar="K", help="keep the K that fit the prompt best, as the model itself judges")
    add("--size", metavar="S", help="pixels, as 256, or width x height, as 384x256; that of the run by default")
    add("--coarse", metavar="S", help="paint a picture of this size first, and that of --size over it")
    add("--guidance", type=float, metavar="X", help="how strictly to follow the prompt; 1 is no more than learnt")
    add("--image", type=Path, metavar="FILE", help="a picture to edit")
    add("--region", type=_region, metavar="X,Y,W,H", help="what of it is painted anew, in pixels of the painting")
    add("--mask", type=Path, metavar="FILE", help="the same as a picture: what is white")
    add("--ahead", type=int, metavar="N", help="guess N codes ahead in a step; the same picture, maybe sooner")
    add("--show-every", type=int, metavar="N", help="write progress.png into the folder after every N rows of codes")


def _region(value: str) -> tuple[int, ...]:
    parts = value.split(",")
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{value!r}: it has to be four whole numbers, as 0,0,64,32")
    return tuple(map(int, parts))


def _asked_by_task(words: Sequence[str]) -> list[str]:
    """`[RUN] --task text_to_image PROMPT FLAGS OUTPUT` in the words of `paint`. UserError for another task, and unless
    there are these words."""
    alone: list[str] = []
    flags: list[str] = []
    task = ""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--task":
            task = value if equals else next(rest, "")
        elif word.startswith("--"):
            flags += [word] if equals or word == "--help" else [word, *itertools.islice(rest, 1)]
        else:
            alone.append(word)
    if "--help" in flags:
        return ["paint", "--help"]
    if task != "text_to_image":
        raise UserError(f"--task {task}: only text_to_image is asked for like that; see `m6 generate --help`")
    if len(alone) == 2:
        alone = [DEFAULT, *alone]
    if len(alone) != 3:
        found = " ".join(alone) or "none"
        raise UserError(f"--task text_to_image takes a run or none, a prompt and a folder or PNG to write, got {found}")
    run, prompt, output = alone
    return ["paint", f"--run={run}", f"--prompt={prompt}", f"--output={output}", *flags]


def _add_decoding(parser: argparse.ArgumentParser) -> None:
    """What `m6.generate.decoding.Decoding` has beyond sampling."""
    add = parser.add_argument
    add("--beams", type=int, metavar="N", help="beam search: follow N answers up at once, such as 5")
    add("--length-penalty", type=float, metavar="X", help="of beam search: above 1 favours long answers, 0 short ones")
    add("--contrast", type=float, metavar="X", help="contrastive search: how much unlike before counts, such as 0.6")
    add("--no-repeat-ngram", type=int, metavar="N", help="never write the same N tokens in a row twice")
    add("--repetition-penalty", type=float, metavar="X", help="make what was written less likely, such as 1.2")
    add("--min-tokens", type=int, metavar="N", help="write so many tokens at least")


def _attribute(value: str) -> tuple[str, str]:
    name, equals, said = value.partition("=")
    if not (name.strip() and equals and said.strip()):
        raise argparse.ArgumentTypeError(f"{value!r}: it has to be a name and a value, as 颜色=红")
    return name.strip(), said.strip()


def _text(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("the text is empty")
    return value


def trained_run(folder: Path) -> Path:
    """The same folder. Raises UserError unless it holds a run whose training has ended."""
    if not (folder / "config.json").exists():
        raise UserError(
            f"{told(folder)}: no run folder; name another with --run, leave it out for {DEFAULT}, or make one with"
            " `m6 quickstart`"
        )
    if read_done(folder, "pretrain") is None and read_done(folder, "finetune") is None:
        verb = "finetune" if (folder / "finetune").exists() else "pretrain"
        raise UserError(f"{told(folder)}: its training has not ended, run `m6 {verb} {folder}` first")
    return folder


def check_image(path: Path) -> None:
    """Raises UserError unless the file is a whole picture of a sensible size."""
    from PIL import Image, UnidentifiedImageError

    if path.is_dir():
        raise UserError(f"{path}: it is a folder; give the file of a picture")
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
