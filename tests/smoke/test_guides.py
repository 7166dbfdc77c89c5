"""What the guides tell a reader to type for m6 is done, one command of a page after the other, in small.

Commands are real, and so is the run that they are about: `able`, trained for a few steps on all that pages ask of a
run, stands for every run that a page takes for granted. `shortened` says what is smaller than on the page, recipes
included; that a command ends well is asserted, not what it says. Pages in `ELSEWHERE` have a test that does the like,
words in `BEYOND` a reason. Commands of other programs are read, not done: tests/unit/docs/test_commands.py.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from m6 import cli
from m6.cli import main
from m6.corpus.starter import emoji_pictures
from m6.run import Run
from tests.unit.corpus.test_guide import PICTURE, write, write_files
from tests.unit.docs.pages import ROOT, blocks, commands

pytestmark = pytest.mark.xdist_group("smoke")
Said = pytest.CaptureFixture[str]

ELSEWHERE = {
    "docs/en/extend.md": "tests/smoke/test_extend.py",
    "docs/en/serve.md": "tests/smoke/test_serve.py",
    "docs/en/reproduce.md": "tests/smoke/test_reproduce.py",
    "docs/en/huggingface.md": "tests/unit/interop/test_huggingface.py",
    "docs/en/scale.md": "tests/distributed/test_launch_scripts.py",
    "docs/en/sources.md": "tests/unit/corpus/test_guide.py",
    "docs/en/failures.md": "tests/distributed/test_faults.py",
}
"""Pages that need more than a run: a server, several processes, a library."""
BEYOND = {
    "serve": "runs until it is stopped: tests/smoke/test_serve.py",
    "starter": "fetches packages: tests/unit/corpus/test_packages.py",
    "--dry-run": "takes minutes: tests/distributed/test_dry_run.py",
    "crops": "needs a vision model: tests/unit/model/test_crops.py",
    "vqgan-f16": "needs published weights: tests/unit/vqgan/test_interop.py",
    "runs/dense": "needs a run of a larger model: tests/unit/model/test_upcycle.py",
    "--coarse": "needs a run that paints coarse pictures first: tests/unit/generate/test_painting.py",
    "...": "is no whole command",
}
"""Words of commands that are not done, with the reason and the test that does the like."""
PAGES = [
    page
    for page in ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs/en").rglob("*.md")))
    if page not in ELSEWHERE and any(block.language == "bash" for block in blocks(Path(page)))
]
STAGES = ("corpus", "tokenizer", "vqgan", "pretrain", "evaluate", "quickstart")
STANDS = ("quickstart", "smoke", "long", "tasks", "paint", "large")
"""Recipes in whose place stands that of `able`, and the runs of their names, which are done."""
GOING_ON = ("paint_more", "mini_titles", "mini_more", "RECIPE")
"""Recipes in whose place stands that of `able`."""
PACKAGES = ("mini",)
"""Recipes whose corpus comes out of packages, which have to be fetched; runs of their names stand there."""
SMALL = {
    "--corpus.sources.emoji.most": "420",
    "--corpus.sources.poems.most": "300",
    "--corpus.sources.scenes.train": "120",
    "--corpus.sources.scenes.heldout": "40",
    "--tokenizer.vocab_size": "1500",
    "--vqgan.loop.num_steps": "2",
    "--vqgan.features.num_steps": "2",
    "--pretrain.loop.num_steps": "2",
    "--evaluate.num_samples": "4",
    "--evaluate.num_poems": "1",
    "--evaluate.judge_scenes": "40",
    "--evaluate.judge_steps": "2",
}
"""Fields that are small whatever a page says."""
REGIONS = {"64,0,64,128": "32,0,32,64", "0,0,64,128": "0,0,32,64"}
"""Regions of pictures of 128 pixels, and of half of these."""
TEXTS = (
    "街角的书店亮着灯，老板坐在门口的竹椅上翻一本旧杂志，猫睡在他脚边。",
    "这把雨伞骨架结实，收起来很短，放进书包里一点也不占地方，颜色也好看。",
    "周末我们沿着河边骑车，走走停停，晚上在朋友家里一起包了饺子，热闹得很。",
)
RECORDS = {
    "product_description": '{"title": "晴雨伞", "attributes": {"颜色": "红"}, "description": "收起来很短。"}\n',
    "question_answering": '{"question": "成语“画蛇添足”是什么意思？", "answer": "比喻多此一举。"}\n',
}
"""Of tasks whose texts come out of packages."""
ABLE = """
from m6.data.config import Entry
from m6.recipes import smoke


def recipe():
    base = smoke.recipe()
    learnt = ("product_description", "question_answering")
    more = (Entry(source="emoji", samples=1, objectives={name: 1.0}) for name in learnt)
    return base.override({"pretrain.data.mixture": (*base.pretrain.data.mixture, *more)})
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reader, with the files and the runs that pages take for granted."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("able.py").write_text(ABLE, encoding="utf-8")
        patch.setattr("m6.quickstart._run_child", _stage)
        for words in (
            ["quickstart", "able.py", "--out", "runs/able", *_flags(SMALL)],
            ["tasks", "runs/able", "--out", "able-data"],
        ):
            assert main(words) == 0
        for name in (*STANDS, *PACKAGES):
            shutil.copytree("runs/able", f"runs/{name}")
        shutil.copytree("able-data", "runs/tasks-data")
        shutil.copytree("able-data/pictures", "data/pictures")
        shutil.copytree("able-data/captioning", "data/mine")
        shutil.copytree("runs/able/corpus", "other-shards")
        write_files()
        write("shop.parquet", _table())
        for name in ("posts.jsonl", "test.jsonl"):
            shutil.copy("data/posts.jsonl", name)
        for number, picture in enumerate(list(emoji_pictures().values())[:40]):
            write(f"my-pictures/{number}.png", _large(picture))
            write(f"my-pictures/{number}.txt", f"我的第{number}张画，画的是一样东西")
    return folder


def _large(picture: bytes) -> bytes:
    """A bundled picture as large as pictures of a reader have to be."""
    stream = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").resize((128, 128)).save(stream, "PNG")
    return stream.getvalue()


def _table() -> bytes:
    stream = io.BytesIO()
    rows = [{"text": text, "image": {"bytes": _large(PICTURE), "path": "a.png"}} for text in TEXTS]
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def test_what_is_not_done_here_is_done_elsewhere() -> None:
    named = [*ELSEWHERE.values(), *(why.rpartition(": ")[2] for why in BEYOND.values() if ": " in why)]
    assert all((ROOT / name).is_file() for name in named)


DONE: set[tuple[str, ...]] = set()
"""Commands that were done for another page, in the same folder."""


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_are_done(page: str, reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.chdir(reader)
    monkeypatch.setattr("m6.quickstart._run_child", _stage)
    shutil.rmtree("runs/mine", ignore_errors=True)  # each page has a recipe of its own, or begins with a run
    recipe = "from m6.recipes.quickstart import recipe"
    faults = []
    for block in blocks(Path(page)):
        if block.language == "python" and "def recipe(" in block.text:
            recipe = block.text
        for words in commands(block.text) if block.language == "bash" else ():
            small = shortened(words)
            if small is None or tuple(small) in DONE:
                continue
            _furnish(small, recipe)
            capsys.readouterr()
            if code := main(small):
                faults.append(f"m6 {' '.join(small)}: {code}: {capsys.readouterr().err}")
            DONE.add(tuple(small))
    assert not faults, "\n".join(faults)


def _furnish(words: Sequence[str], recipe: str) -> None:
    """What a command takes for granted: the reader's recipe, which the page has shown last; a run; earlier stages."""
    for word in words:
        if word.endswith(".py") and word != "able.py":
            Path(word).write_text(recipe, encoding="utf-8")
        if word == "runs/mine" and not Path(word).exists():
            shutil.copytree("runs/able", word)
    for task, line in RECORDS.items() if any("runs/tasks-data" in word for word in words) else ():
        for split in ("train", "validation", "test"):
            write(f"runs/tasks-data/{task}/{split}.jsonl", line)
    if "runs/RECIPE" in words:  # pages show what may be done with it, one thing or the other
        shutil.rmtree("runs/RECIPE", ignore_errors=True)
    if words[0] == "finetune":
        shutil.rmtree(f"{words[words.index('--from') + 1]}-{words[1]}", ignore_errors=True)
    if words[0] in ("vqgan", "pretrain") and words[1].endswith(".py"):
        recipe_of_run, folder = cli._recipe_and_folder(words[0], words[1:])
        if not folder.exists():
            Run.open(folder, recipe_of_run)
            for stage in STAGES[: STAGES.index(words[0])]:
                shutil.copytree(Path("runs/able") / stage, folder / stage)


def _stage(name: str, words: Sequence[str]) -> int:
    """A stage of the quickstart in this process, which has imported all that takes seconds."""
    return main([name, *words])


def shortened(words: Sequence[str]) -> list[str] | None:
    """The words after `m6` of a command that is done here, in small; None for every other."""
    program, *rest = (REGIONS.get(word, word) for word in words)
    if program.removeprefix(".venv/bin/") != "m6" or not rest or set(rest) & set(BEYOND):
        return None
    verb = rest.pop(0)
    if verb == "finetune":
        return [verb, *_with_flags(rest, {"--finetune.loop.num_steps": "2", "--finetune.samples": "4"})]
    if verb == "evaluate" and (set(rest) & {"--task", "--all"} or len(rest) == 1):
        return [verb, *_with_flags(rest, {"--num-examples": "4"})]
    if verb not in STAGES or rest[:1] in (["files"], ["encode"]):
        return [verb, *rest]
    recipe = "quickstart" if not rest or rest[0].startswith("-") else rest.pop(0)
    if recipe in PACKAGES:
        return None
    if recipe in (*STANDS, *GOING_ON):
        beginning = f"-from-{Path(rest[rest.index('--from') + 1]).name}" if "--from" in rest else ""
        rest += [] if "--out" in rest else ["--out", f"runs/{recipe}{beginning}"]
        recipe = "able.py"
    if not recipe.endswith(".py") or "--check" in rest:  # a run is small already, and remembers it
        return [verb, recipe, *rest]
    return [verb, recipe, *_with_flags(rest, SMALL)]


def _flags(fields: Mapping[str, str]) -> list[str]:
    return [word for flag in fields.items() for word in flag]


def _with_flags(words: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    """The words with these flags, whose values take the place of those that are there."""
    kept = list(words)
    for name in wanted:
        for spelt in (name, name.replace("-", "_").replace("__", "--", 1)):
            if spelt in kept:
                del kept[(at := kept.index(spelt)) : at + 2]
    return [*kept, *_flags(wanted)]
