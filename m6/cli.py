"""The command `m6`: one verb a stage, in the order of the work.

`m6 VERB RECIPE --section.field value --out DIR`. It imports lazily: help appears at once, without torch. Exit codes:
0 done, 1 failed, 2 bad input, which is told in one line.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from m6 import __version__

if TYPE_CHECKING:
    from m6.corpus.config import CorpusConfig
    from m6.recipes.recipe import Recipe

_HELP = """\
m6: from raw Chinese web data to a model that reads pictures, answers, writes poems and paints.

  m6 quickstart [RECIPE]    all of the stages below in turn; RECIPE is quickstart, smoke or long

Stages, in the order of the work; each takes a recipe (a name, or the path of a .py file) or a run folder:
  m6 corpus RECIPE          read, clean and deduplicate the sources into shards
  m6 corpus files           the same for any files, without a recipe
  m6 tokenizer RECIPE       learn the vocabulary
  m6 vqgan RECIPE           train the image tokenizer
  m6 vqgan encode RUN       write the image codes of a corpus
  m6 pretrain RECIPE        train the model on all objectives
  m6 evaluate RECIPE        score the model on held-out data, write the report

With a trained run; without one, generate and serve ask mini, the small model of the package:
  m6 tasks RUN              write task files out of its corpus
  m6 finetune TASK          train it on one task, into a run folder of its own
  m6 evaluate RUN --task T  measure it on a task, or on --all
  m6 generate caption       say what is in a picture
  m6 generate answer        answer a question, about a picture or without one
  m6 generate match         say how well texts fit a picture
  m6 generate describe      describe a product
  m6 generate poem          write a poem to a title
  m6 generate paint         paint a picture
  m6 serve [RUN]            answer over HTTP, with a page to try it
  m6 export RUN             write its weights as one folder of safetensors

Before any of it:
  m6 show [SIZE]            what a model is made of and what it costs
  m6 plan SIZE --gpus N     what training it on many GPUs takes

Of this project itself, in a checkout:
  m6 reproduce [CARD]       make a table or a picture of the docs again, and compare

  m6 VERB --help            what a verb does, and its flags
  m6 --version

A stage that is done is skipped, one that was stopped goes on where it was: just run the command again.
"""

# Running out of space, or not being allowed to write: the user's to mend, and nothing is lost since files are atomic.
_USER_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def main(words: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default) and return its exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP, end="")
        return 0
    if words[0] == "--version":
        print(f"m6 {__version__}")
        return 0
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for some takes a tenth of the help's time
    from m6.config import UserError
    from m6.run import EndedError

    try:
        return _verb(words[0], words[1:])
    except EndedError as ended:
        if str(ended):
            print(f"m6: {ended}" if ended.code else ended, file=sys.stderr, flush=True)
        return ended.code
    except UserError as error:
        if os.environ.get("RANK", "0") != "0" and not error.of_one_rank:
            return 2  # the first process tells it
        message = str(error)
    except KeyboardInterrupt:
        print("m6: stopped; the same command goes on where it was", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of the output is gone, as in `m6 corpus --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        # Libraries in other languages report a full disk as an error of their own, with the words of the system.
        full = os.strerror(errno.ENOSPC) in str(error)
        if not full and not (isinstance(error, OSError) and error.errno in _USER_ERRNOS):
            raise
        advice = "; free some space and run the same command: it goes on where it was" if full else ""
        message = f"{error}{advice}"
    print("m6: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _verb(verb: str, words: list[str]) -> int:
    verbs: dict[str, Callable[[list[str]], int]] = {
        "quickstart": _quickstart, "generate": _generate, "export": _export, "show": _show,
        "plan": _plan, "finetune": _finetune, "tasks": _tasks, "serve": _serve,
        "reproduce": _reproduce,
    }  # fmt: skip
    if verb == "evaluate" and _measures_a_task(words):
        return _evaluate(words)
    if verb in verbs:
        return verbs[verb](words)
    from m6.config import UserError, nearest
    from m6.stages import STAGES, run_stage

    if verb not in STAGES:
        raise UserError(f"no verb {verb!r}{nearest(verb, [*STAGES, *verbs])}")
    if verb == "corpus" and words[:1] == ["files"]:
        return _corpus_files(words[1:])
    if verb == "vqgan" and words[:1] == ["encode"]:
        return _encode(words[1:])
    if _asks_help(words):
        print(_stage_help(verb, words))
        return 0
    if verb == "corpus" and "--check" in words:
        recipe, _ = _recipe_and_folder(verb, [word for word in words if word != "--check"])
        return _check(recipe.corpus, recipe.seed)
    recipe, folder = _recipe_and_folder(verb, words)
    run_stage(verb, folder, recipe)
    return 0


def _measures_a_task(words: list[str]) -> bool:
    """Whether it is not the stage: a task or all are asked for, with their data, or the run is a finetuned one."""
    if any(word.split("=")[0] in ("--task", "--all", "--data", "--anew") for word in words):
        return True
    return any((Path(word) / "finetune").is_dir() for word in words[:1])


def _corpus_files(words: list[str]) -> int:
    from m6 import corpus_files

    if _asks_help(words):
        print(corpus_files.describe())
        return 0
    config, folder, check = corpus_files.parse(words)
    if check:
        return _check(config, seed=0)
    from m6.stages import run_corpus_files

    run_corpus_files(folder, config)
    return 0


def _encode(words: list[str]) -> int:
    from m6.encode import HELP, encode

    print(HELP if _asks_help(words) else encode(words))
    return 0


def _check(config: CorpusConfig, seed: int) -> int:
    from m6.corpus.check import check

    for line in check(config, seed):
        print(line, flush=True)
    return 0


def _quickstart(words: list[str]) -> int:
    if _asks_help(words):
        print(_stage_help("quickstart", words))
        return 0
    if not words or words[0].startswith("-"):
        words = ["quickstart", *words]
    recipe, folder = _recipe_and_folder("quickstart", words)
    from m6 import quickstart

    return quickstart.run(folder, recipe, words)


def _recipe_and_folder(verb: str, words: Sequence[str]) -> tuple[Recipe, Path]:
    """The whole config and the run folder of a command line: a recipe or a run folder, then flags; with --from, what
    begins with another run."""
    from m6 import flags
    from m6.config import UserError, recipe_names

    alone, given = flags.split(words)
    if len(alone) != 1:
        names = ", ".join(recipe_names())
        raise UserError(
            f"m6 {verb} takes one recipe ({names}, or the path of a .py file) or a run folder,"
            f" got {' '.join(alone) if alone else 'none'}"
        )
    recipe, folder = _load(alone[0])
    run = given.pop("from", "")
    folder = Path(given.pop("out", f"{folder}-from-{Path(run).name}" if run else folder))
    if run:
        from m6.recipes.recipe import begun

        recipe = begun(recipe, run)
    return recipe.override(flags.values(given, recipe, verb)), folder


def _load(name: str) -> tuple[Recipe, Path]:
    """The recipe of this name or path, or that of the run folder of this name; and where its run stands by default."""
    from m6.recipes.recipe import is_run_folder, named

    return named(name), Path(name) if is_run_folder(name) else Path("runs") / Path(name).stem


def _asks_help(words: Sequence[str]) -> bool:
    return "-h" in words or "--help" in words


def _stage_help(verb: str, words: Sequence[str]) -> str:
    from m6 import flags
    from m6.stages import STAGES

    named = [word for word in words[:1] if not word.startswith("-")]
    name = named[0] if named else "quickstart"
    recipe, folder = _load(name)
    if verb == "quickstart":
        summary, usage = "all stages in turn, then the report", "[RECIPE]"
        sections: tuple[str, ...] = ()
        others = f"A flag of any stage may be given, see {', '.join(f'm6 {stage} --help' for stage in STAGES)}."
    else:
        summary, usage, sections = STAGES[verb].summary, "RECIPE", STAGES[verb].sections
        others = "The flags of the other stages are part of the recipe too: give the same ones to every verb of a run."
    if verb == "evaluate":
        summary += "; `m6 evaluate RUN --task TASK --data PATH`, or `--all --data FOLDER`, measures it on tasks instead"
        others += "\n`m6 evaluate --task --help` lists the flags of tasks."
    if verb == "corpus":
        summary += "; with --check, say what 1,000 records of each source come to, and write nothing"
    return (
        f"m6 {verb} {usage} [--out DIR] [--section.field value ...]: {summary}.\n\n"
        "RECIPE is a name, the path of a .py file with a function recipe(), or a run folder, which needs no flags.\n"
        f"  --out DIR  the run folder, here {folder}\n"
        "  --from RUN begin with the tokenizers and weights of a trained run, or mini, in a fifth of the updates\n\n"
        f"Flags, with their values in the recipe {name}; a list is given as JSON, '[1, 2]':\n"
        f"{flags.describe(recipe, sections)}\n\n{others}"
    )


def _finetune(words: list[str]) -> int:
    from m6 import finetune

    if _asks_help(words):
        print(finetune.describe())
        return 0
    folder, recipe = finetune.parse(words)
    from m6.stages import run_stage

    run_stage("finetune", folder, recipe)
    return 0


def _evaluate(words: list[str]) -> int:
    from m6 import evaluate

    if _asks_help(words):
        print(evaluate.describe())
        return 0
    text, failures = evaluate.evaluate(words)
    print(text, flush=True)
    for line in failures:
        print(f"m6: {line}", file=sys.stderr, flush=True)
    return 1 if failures else 0


def _serve(words: list[str]) -> int:
    from m6 import serve_flags

    if _asks_help(words):
        print(serve_flags.describe())
        return 0
    serve_flags.serve(words)
    return 0


def _tasks(words: list[str]) -> int:
    from m6 import task_files

    print(task_files.HELP if _asks_help(words) else task_files.write(words))
    return 0


def _show(words: list[str]) -> int:
    from m6.show import HELP, show

    print(HELP if _asks_help(words) else show(words))
    return 0


def _plan(words: list[str]) -> int:
    from m6.plan import HELP, plan

    print(HELP if _asks_help(words) else plan(words))
    return 0


def _reproduce(words: list[str]) -> int:
    from m6 import reproduce

    if _asks_help(words):
        print(reproduce.HELP)
        return 0
    return reproduce.reproduce(words)


def _export(words: list[str]) -> int:
    from m6.export import HELP, export

    print(HELP if _asks_help(words) else export(words))
    return 0


def _generate(words: list[str]) -> int:
    from m6 import generate_flags

    arguments = generate_flags.parse(words)
    if arguments is None:  # help was asked for, and printed
        return 0
    kind = arguments.pop("kind")
    folder = generate_flags.trained_run(arguments.pop("run"))
    output = arguments.pop("output", None)
    if "mask" in arguments:
        generate_flags.check_image(arguments["mask"])
    if "image" in arguments:
        generate_flags.check_image(arguments["image"])
    if kind == "paint":
        from m6.generate.paintings import paint

        print("\n".join(paint(folder, output, **arguments)))
        return 0
    from m6.generate import answers

    said = getattr(answers, kind)(folder, **arguments)
    print(said, flush=True)
    if not said.strip():
        name = {"describe": "description"}.get(kind, kind)
        print(f"m6: the {name} is empty; this run may have been trained too little", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
