"""Configs: unknown names and wrong types are told in a line, files and recipes load, differences are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

import pytest
from pydantic import Field, model_validator

from m6.config import Config, UserError, differences, load_recipe, recipe_names
from m6.recipes.recipe import Recipe


class Entry(Config):
    """A part in a list."""

    name: str = "a"
    """Its name."""
    weight: float = 1.0
    """Its weight."""


class Model(Config):
    """A part."""

    may_change: ClassVar[tuple[str, ...]] = ("num_workers",)

    num_layers: int = Field(default=3, gt=0)
    """Layers."""
    num_workers: int = 0
    """Processes."""
    tied: bool = True
    """Whether tied."""
    channels: tuple[int, ...] = (8, 16)
    """Widths."""
    entries: tuple[Entry, ...] = (Entry(), Entry(name="b"))
    """Parts."""

    @model_validator(mode="after")
    def _even(self) -> Self:
        if self.num_layers == 13:
            raise ValueError("num_layers 13 brings bad luck")
        return self


class Whole(Config):
    """A whole."""

    seed: int = 0
    """Seed."""
    model: Model = Model()
    """The part."""


def message_of(values: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        Whole().override(values)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    expected = (
        "model: no field 'num_layer', did you mean 'num_layers'? allowed: num_layers, num_workers, tied, channels"
    )
    assert message_of({"model.num_layer": 3}) == f"{expected}, entries"
    assert "did you mean 'model'" in message_of({"modle.num_layers": 3})
    with pytest.raises(UserError, match="Whole: model: no field 'num_layer', did you mean 'num_layers'"):
        Whole(model={"num_layer": 3})


def test_braces_in_a_name_are_shown_as_they_are() -> None:
    assert message_of({"{message}": 1}).startswith("no field '{message}'")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("model.num_layers", "x", "model.num_layers: 'x' is not a whole number"),
        ("model.num_layers", "2.5", "model.num_layers: '2.5' is not a whole number"),
        ("model.num_layers", 0, "model.num_layers: 0 should be greater than 0"),
        ("model.num_layers", 13, "model: num_layers 13 brings bad luck"),
        ("model.tied", "perhaps", "model.tied: 'perhaps' is neither true nor false"),
        ("model.channels", "8,16", "model.channels: '8,16' is not a list, which on a command line is JSON: [1, 2]"),
        ("model.entries.1.weight", "heavy", "model.entries.1.weight: 'heavy' is not a number"),
        ("model.entries.7.weight", 1, "model.entries.7.weight: '7' is no position in a list of 2"),
        ("model.num_layers.x", 1, "model.num_layers.x: num_layers is one value, without fields"),
    ],
)
def test_wrong_value_is_one_line(name: str, value: object, expected: str) -> None:
    assert message_of({name: value}) == expected


def test_override_changes_what_it_names_and_nothing_else() -> None:
    changed = Whole().override({"model.entries.1.weight": "2.5", "model.tied": "false", "seed": "7"})
    assert changed.model.entries == (Entry(), Entry(name="b", weight=2.5))
    assert (changed.seed, changed.model.tied, changed.model.num_layers) == (7, False, 3)
    assert Whole() == Whole(model=Model())


def test_differences_name_the_fields_with_both_values() -> None:
    changed = Whole().override({"model.num_layers": 5, "model.entries.0.name": "c", "model.num_workers": 2})
    assert differences(Whole(), changed) == ["model.num_layers: 3, 5", "model.entries.0.name: 'a', 'c'"]
    assert differences(changed, changed) == []


def test_write_and_read(tmp_path: Path) -> None:
    config = Whole().override({"model.channels": [1, 2, 3]})
    config.write(tmp_path / "config.json")
    assert Whole.read(tmp_path / "config.json") == config
    assert Model.read(tmp_path / "config.json", section="model") == config.model
    with pytest.raises(UserError, match="no section 'modle'"):
        Model.read(tmp_path / "config.json", section="modle")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"seed": ', "not a config"),
        (b"\xff\xfe", "not a config"),
        (json.dumps({"sead": 1}).encode(), "no field 'sead', did you mean 'seed'"),
        (json.dumps({"seed": "x"}).encode(), "seed: 'x' is not a whole number"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected) as caught:
        Whole.read(path)
    assert str(path) in str(caught.value)


def test_recipes_by_name() -> None:
    own = [
        "base",
        "large",
        "long",
        "mini",
        "mini_more",
        "mini_titles",
        "paint",
        "paint_more",
        "quickstart",
        "smoke",
        "starter",
        "tasks",
    ]
    assert recipe_names() == ["100b", "10b", *own]
    for name in recipe_names():
        assert isinstance(load_recipe(name), Recipe)
    with pytest.raises(UserError, match=r"no recipe 'quikstart', did you mean 'quickstart'\? allowed: 100b, 10b, base"):
        load_recipe("quikstart")


def test_recipe_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from m6.recipes import smoke\n\ndef recipe():\n    return smoke.recipe().override({'model.num_layers': 2})\n"
    )
    recipe = load_recipe(str(path))
    assert isinstance(recipe, Recipe)
    assert recipe.model.num_layers == 2


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def recipe(:\n", "line 1"),
        ("x = 1\n", "needs a function `recipe"),
        ("def recipe():\n    return 3\n", "returned int"),
        ("from m6.recipes import smoke\ndef recipe():\n    return smoke.recipe().override({'sed': 1})\n", "'seed'"),
    ],
)
def test_broken_recipe_is_told_in_a_line(tmp_path: Path, code: str, expected: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(UserError, match=expected):
        load_recipe(str(path))
    with pytest.raises(UserError, match="no such recipe file"):
        load_recipe(str(tmp_path / "other.py"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus.image_size": 60}, "60 is not a multiple of the image tokenizer's patches, 8 pixels wide"),
        ({"model.patch_size": 24, "model.stem": "linear"}, "64 is not a multiple of the model's patches, 24 pixels"),
    ],
)
def test_pictures_that_do_not_divide_into_patches_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe("quickstart").override(changes)


def test_every_field_of_a_recipe_has_help() -> None:
    from m6.flags import fields

    assert [name for name, _, text in fields(load_recipe("quickstart")) if not text] == []
