"""Every block of code in the docs is one that works: commands are parsed by what they call, Python is compiled and what
it imports is there, JSON is read. Nothing is passed over: a command without a check is an error.

Commands of m6 are done for real, in small, in tests/smoke/test_guides.py, or in the tests that it names.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.docs.checks import check, check_inline
from tests.unit.docs.pages import GUIDES, PAGES, ROOT, Block, blocks, commands, spans
from tests.unit.docs.stand_ins import do_no_work, furnish

SHOWN = {"text", "", "toml", "yaml", "ini", "dockerfile", "diff", "bibtex"}
"""Languages of blocks that are looked at, not typed."""
DONE = {Path("docs/en/extend.md"): Path("tests/smoke/test_extend.py")}
"""Pages that change the package, so that what they type is right only after it; and the test that does all of it."""


@pytest.fixture(autouse=True)
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of a reader, where nothing works for long."""
    monkeypatch.chdir(tmp_path)
    furnish(tmp_path)
    do_no_work(monkeypatch)


def faults(page: Path, check_block: Callable[[Block], list[str]]) -> list[str]:
    return [f"{page}:{block.line}: {fault}" for block in blocks(page) for fault in check_block(block)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_code_blocks_work(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if page in DONE:
        assert (ROOT / DONE[page]).is_file(), f"{page} is done by no test"
        return
    defined: set[str] = set()
    for block in blocks(page):
        if block.language == "python":
            defined |= _defined(block.text)
    recipe = ""

    def block_faults(block: Block) -> list[str]:
        nonlocal recipe
        if block.language == "bash":
            return [fault for words in commands(block.text) if (fault := _fault(words, recipe, capsys))]
        if block.language == "python":
            recipe = block.text if "def recipe(" in block.text else recipe
            return _python_faults(block.text, defined)
        if block.language == "json":
            return _json_faults(block.text)
        return [] if block.language in SHOWN else [f"no check for blocks of {block.language!r}"]

    found = faults(page, block_faults)
    assert not found, "\n".join(found)


def _fault(words: list[str], recipe: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with a command; "" for a good one. The reader's recipe is the one that the page has shown last."""
    for word in words:
        if recipe and word.endswith(".py") and "/" not in word:
            Path(word).write_text(recipe, encoding="utf-8")
    capsys.readouterr()
    try:
        check(words)
    except (Exception, SystemExit) as error:
        return f"{' '.join(words)}: {error!r} {capsys.readouterr().err.strip()}"
    return ""


def _defined(code: str) -> set[str]:
    """Names of classes and functions of a block."""
    tree = ast.parse(textwrap.dedent(code))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}


def _python_faults(code: str, defined: set[str]) -> list[str]:
    """Imports that lead nowhere, but for names that the page itself defines."""
    found = []
    for node in ast.walk(compile(textwrap.dedent(code), "block", "exec", ast.PyCF_ONLY_AST)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            found += [f"no module {name}" for name in names if not _module(name)]
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            found += [
                f"nothing {name} in {node.module}"
                for name in names
                if name not in defined and not _holds(node.module, name)
            ]
    return found


def _module(name: str) -> bool:
    """Whether there is such a module; of others' packages the first name alone, since some take long to import."""
    known = name if name.split(".")[0] in ("m6", "benchmarks") else name.split(".")[0]
    try:
        return importlib.util.find_spec(known) is not None
    except ModuleNotFoundError:
        return False


def _holds(module: str, name: str) -> bool:
    if not module.startswith(("m6", "benchmarks")):
        return _module(module)
    return _module(module) and (hasattr(importlib.import_module(module), name) or _module(f"{module}.{name}"))


def _json_faults(text: str) -> list[str]:
    """One value, or one a line."""
    try:
        json.loads(text)
    except ValueError:
        try:
            [json.loads(line) for line in text.splitlines()]
        except ValueError as error:
            return [str(error)]
    return []


@pytest.mark.parametrize("page", [*(page for page in PAGES if page.parent == Path()), *GUIDES], ids=str)
def test_commands_and_flags_in_prose_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for span in spans(page):
        try:
            check_inline(span)
        except (Exception, SystemExit) as error:
            found.append(f"{page}: {span}: {error!r} {capsys.readouterr().err.strip()}")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "command",
    [
        "m6 pretrian quickstart",
        "m6 pretrain quickstrat",
        "m6 pretrain quickstart --model.num_layer 4",
        "m6 pretrain quickstart --model.num_layers four",
        "m6 generate paint --prompt 猫 --bets 4",
        "m6 generate paint --prompt 猫 --best 4",
        "m6 generate caption --image dog.png",
        "m6 finetune poems --from runs/quickstart",
        "m6 evaluate runs/elsewhere --task poems --data data",
        "m6 plan 100b --gpus 128 --gpu z100",
        "m6 serve runs/quickstart --prot 80",
        "make quickstrat",
        "python -m benchmarks.serve --sok 1000",
        "python -m benchmarks.serve --only no_such_key",
        "python -m benchmarks.nothing",
        "python examples/launch/ray_cluster.py --ranks 2 100b --model.num_layer 4",
        "pip install 'open-m6[serv]'",
        "curl http://127.0.0.1:8000/v1/model",
        """curl http://127.0.0.1:8000/v1/images/generations -d '{"prmpt": "猫"}'""",
        "torchrun --nproc 2 --max-restart 3 -m m6.cli pretrian 10b",
        "cat runs/quickstart/corpus/raport.md",
        "rm -r runs/quickstart/pretrained",
        "wget http://127.0.0.1:8000/v1/models",
    ],
)
def test_wrong_commands_are_found(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    (words,) = commands(command)
    assert _fault(words, "", capsys)


def test_commands_are_split_as_a_shell_does() -> None:
    block = "A=1 m6 show 'a b' \\\n  c  # why\nm6 plan && make test; make lint\ncurl -d '{\n}' url\n"
    assert list(commands(block)) == [
        ["m6", "show", "a b", "c"],
        ["m6", "plan"],
        ["make", "test"],
        ["make", "lint"],
        ["curl", "-d", "{\n}", "url"],
    ]
