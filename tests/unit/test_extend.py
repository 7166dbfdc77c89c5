"""The guide "extend": what it adds is put into a copy of the package, and its commands are run there.

The slow half, which trains, is in `tests/smoke/test_extend.py`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.extended import Extended


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    return Extended(tmp_path_factory.mktemp("extended"))


def test_a_source_reads_what_it_is_given(extended: Extended) -> None:
    said = extended.run("A source", only="--check")
    assert "sayings" in said
    assert "no line" in said
    mistake = extended.command("m6 corpus sayings.py --check --corpus.sources.sayings.path none.txt", code=2)
    assert "corpus.sources.sayings.path: 'none.txt' is no file" in mistake


def test_a_rule_drops_what_was_cut_off(extended: Extended) -> None:
    extended.write("posts.jsonl", extended.block("A cleaning rule", "json"))
    said = extended.run("A cleaning rule")
    assert "cut off" in said


def test_an_objective_makes_a_branch(extended: Extended) -> None:
    told = extended.python(
        """
        import numpy as np
        from types import SimpleNamespace
        from m6.data.objectives import STANDALONE
        context = SimpleNamespace(encode=lambda text: tuple(map(ord, text)))
        poem = {"title": "春晓", "text": "春眠不觉晓"}
        (branch,) = STANDALONE["title"](poem, context, np.random.default_rng(0))
        print("".join(map(chr, branch.prefix[0].ids)), "".join(map(chr, branch.target.ids)))
        print(STANDALONE["title"]({**poem, "title": ""}, context, np.random.default_rng(0)))
        """
    )
    assert told.split() == ["春眠不觉晓", "春晓", "()"]


def test_a_task_reads_and_scores(extended: Extended) -> None:
    extended.write("titles-data/test.jsonl", extended.block("A task", "json"))
    told = extended.python(
        """
        import json
        from pathlib import Path
        from m6.tasks.files import read_split
        from m6.tasks.task import named
        examples = read_split("titles", Path("titles-data"), "test")
        score = named("titles").score(["静夜思。", "绝句"], examples, [])["exact"]()
        print(json.dumps([len(examples), examples[1].answers, score]))
        """
    )
    assert json.loads(told) == [2, ["春晓"], 0.5]


def test_a_size_is_shown_and_planned(extended: Extended) -> None:
    said = extended.run("A size")
    assert "a pocket's" in said
    assert "pico (a pocket's) on 1 x h100" in said


def test_a_recipe_is_a_file_anywhere(extended: Extended) -> None:
    said = extended.run("A recipe")
    assert "384" in said


def test_the_guide_adds_one_of_each(extended: Extended) -> None:
    assert extended.sections == ["A source", "A cleaning rule", "An objective", "A task", "A size", "A recipe"]
    assert sorted(path.name for path in Path(extended.folder).glob("*.py")) == [
        "posts.py",
        "sayings.py",
        "titles.py",
        "wider.py",
    ]
