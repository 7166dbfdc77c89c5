"""Imports only go down the floors of docs/architecture.md, and what has to be light imports no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import m6

PACKAGE = Path(m6.__file__).parent

# The parts of the package (the first name below m6) by floor: a part may import the floors below its own.
FLOORS: list[set[str]] = [
    {"config", "run", "shards", "shipped"},
    {"corpus", "tokenizer", "model", "vqgan"},
    {"data", "parallel"},
    {"generate", "tasks", "interop"},
    {"train", "serve"},
    {
        "cards",
        "cli",
        "corpus_files",
        "encode",
        "evaluate",
        "export",
        "finetune",
        "flags",
        "generate_flags",
        "plan",
        "plan_page",
        "quickstart",
        "recipes",
        "reproduce",
        "serve_flags",
    }
    | {"show", "task_files", "stages", "__init__", "__main__"},
]
GROUND, DOOR = FLOORS[0], FLOORS[-1]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}
# What a part of the middle floors may import beyond the floors below, and the few of which it may import only some.
BESIDES = {
    "generate": {"recipes.recipe"},
    "interop": {"generate"},
    "train": {"recipes.recipe"},
    "serve": {"recipes.recipe"},
}
ONLY = {"data": {"tokenizer", "corpus.document"}, "parallel": {"model"}}
LIGHT = GROUND | DOOR | {"corpus"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_only: bool = False) -> Iterator[tuple[int, str]]:
    """The line and the full name of everything imported; `from m6.a import b` may import the module m6.a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # relative: count the folders up
                package = ["m6", *path.relative_to(PACKAGE).parts[:-1]]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def allowed(own: str, imported: str) -> bool:
    """Whether a module of the part `own` may import `imported`, a dotted name below m6."""
    first = imported.split(".")[0]
    if first == own or first in GROUND or first == "__version__" or own in DOOR:
        return True
    if any(f"{imported}.".startswith(f"{name}.") for name in BESIDES.get(own, set())):
        return True
    if own in ONLY:
        return any(f"{imported}.".startswith(f"{name}.") for name in ONLY[own])
    return FLOOR.get(first, len(FLOORS)) < FLOOR[own]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    own = part(path)
    assert own in FLOOR, f"m6/{own} has no floor: give it one here and in the architecture"
    wrong = [
        f"line {line}: {name}"
        for line, name in imports(path)
        if name.split(".")[0] == "m6" and not allowed(own, name.removeprefix("m6").removeprefix(".") or "__init__")
    ]
    assert not wrong, f"{path.relative_to(PACKAGE)} imports upwards or sideways: {wrong}"


def test_rules_refuse() -> None:
    """The check itself: what the design forbids is refused, what it names is allowed."""
    assert not allowed("model", "data.sample")
    assert not allowed("model", "train.loop")
    assert not allowed("config", "model.config")
    assert not allowed("serve", "train.loop")
    assert not allowed("data", "corpus.pipeline")
    assert not allowed("train", "recipes.smoke")
    assert not allowed("corpus", "cli")
    assert allowed("data", "corpus.document.Document")
    assert allowed("train", "recipes.recipe.Recipe")
    assert allowed("corpus", "shards.Shards")


@pytest.mark.parametrize("path", [p for p in sources() if part(p) in LIGHT or p.name == "config.py"], ids=str)
def test_light_parts_import_no_torch(path: Path) -> None:
    heavy = {"torch", "vector_quantize_pytorch", "safetensors"}
    found = {name.split(".")[0] for _, name in imports(path)} & heavy
    assert not found, f"{path.relative_to(PACKAGE)} imports {found}"


def loaded_after(code: str) -> set[str]:
    """The top-level modules that a new Python has loaded after some code."""
    script = f"import sys\n{code}\nprint('\\n' + ' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_recipes_load_without_torch() -> None:
    loaded = loaded_after("import m6.recipes.quickstart, m6.recipes.smoke, m6.recipes.long")
    assert "pydantic" in loaded
    assert not loaded & {"torch", "daft", "pyarrow"}


def test_corpus_loads_without_torch() -> None:
    assert "torch" not in loaded_after("import m6.corpus.pipeline")


def test_a_server_loads_no_compilers() -> None:
    """SymPy comes with those of PyTorch, and with what it has for many processes."""
    loaded = loaded_after("import m6.serve.app, m6.serve.service")
    assert "torch" in loaded
    assert not loaded & {"sympy", "vector_quantize_pytorch", "transformers", "daft", "pandas"}


def test_first_help_page_loads_almost_nothing() -> None:
    assert not loaded_after("from m6.cli import main; main(['--help'])") & {
        "torch",
        "pydantic",
        "rich",
        "numpy",
        "argparse",
    }


@pytest.mark.parametrize(
    "verb",
    [
        "quickstart",
        "corpus",
        "tokenizer",
        "vqgan",
        "pretrain",
        "evaluate",
        "generate",
        "export",
        "show",
        "plan",
        "reproduce",
    ],
)
def test_help_of_a_verb_loads_no_torch(verb: str) -> None:
    loaded = loaded_after(f"from m6.cli import main; assert main(['{verb}', '--help']) == 0")
    assert not loaded & {"torch", "daft", "pyarrow", "numpy"}
