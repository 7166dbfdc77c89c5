"""The base of every config: what a component can be told, checked, saved, loaded and changed.

A component keeps its config beside its code, in a file that imports no torch, as a subclass of `Config`; a recipe is a
Python module with a function `recipe()` that returns one whole config made of them. Values come from recipes, from
flags and from the `config.json` of a run folder; all are checked by pydantic, and what is wrong becomes one clear line
(`UserError`) that names the field, the value and what is allowed.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

Count: TypeAlias = Annotated[int, Field(ge=1)]
"""How many there are, where there has to be one."""
Whole: TypeAlias = Annotated[int, Field(ge=0)]
"""How many there are, none included."""
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
"""A part of something."""
Decay: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
"""What a running mean keeps of itself."""


class UserError(Exception):
    """A mistake of the user, as one line: what was given and where, what is allowed, what to do.

    The command line prints it without a traceback and ends with exit code 2. Of several processes all know it, and the
    first prints it, but for one that is `of_one_rank`.
    """

    of_one_rank: ClassVar[bool] = False


class Config(BaseModel):
    """A frozen set of named, typed values; the docstring under a field is its help, with its unit.

    An unknown name, an ill-typed value and a number that is not finite raise `UserError`; a field may ask for more, see
    `Count` and its like. Sequences are tuples, so that a config can be hashed.
    """

    may_change: ClassVar[tuple[str, ...]] = ()
    """Fields that do not decide what comes out, such as a number of workers: a run may go on with another value."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UserError(f"{type(self).__name__}: {explain(error)}") from None

    # Tells pydantic that nested configs need not pass through __init__ (RootModel does the same): the error is then
    # raised once, by the outermost config, with the whole dotted name of the field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_names(cls, values: Any) -> Any:
        unknown = [name for name in values if name not in cls.model_fields] if isinstance(values, dict) else []
        if unknown:
            message = f"no field {unknown[0]!r}{nearest(unknown[0], cls.model_fields)}"
            # The message goes in as a value, since braces in a name would be taken for a template.
            raise PydanticCustomError("unknown_name", "{message}", {"message": message})
        return values

    @classmethod
    def read(cls, path: Path | str, section: str | None = None) -> Self:
        """The config saved at `path` by `write`, or a section ("vqgan.model"). UserError if it is missing or wrong."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except ValueError as error:  # both broken JSON and broken UTF-8
            raise UserError(f"{path}: not a config, {error}") from None
        if section is not None:
            for name in section.split("."):
                if not isinstance(values, dict) or name not in values:
                    raise UserError(f"{path}: no section {section!r}")
                values = values[name]
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(f"{path}: {explain(error)}") from None

    def write(self, path: Path | str) -> None:
        """Save as JSON, atomically."""
        from m6.run import write_atomic  # run imports this module

        write_atomic(path, self.model_dump_json(indent=2) + "\n")

    def override(self, values: Mapping[str, Any]) -> Self:
        """A copy with some fields changed, named with dots: `recipe.override({"model.num_layers": 4})`.

        Raises UserError for an unknown name or an ill-typed value.
        """
        changed = self.model_dump()
        for name, value in values.items():
            _set(changed, name, value)
        try:
            return type(self).model_validate(changed)
        except ValidationError as error:
            raise UserError(explain(error)) from None


def _set(values: dict[str, Any], name: str, value: Any) -> None:
    """Put `value` at the dotted `name` of nested dicts; an item of a sequence is named by its position."""
    *path, last = name.split(".")
    place: dict[Any, Any] | list[Any] = values
    for part in path:
        key = _key(place, part, name)
        child = place.get(key, {}) if isinstance(place, dict) else place[key]
        child = list(child) if isinstance(child, tuple) else child
        if not isinstance(child, dict | list):
            raise UserError(f"{name}: {part} is one value, without fields")
        place[key] = child
        place = child
    place[_key(place, last, name)] = value


def _key(place: dict[Any, Any] | list[Any], part: str, name: str) -> Any:
    if isinstance(place, dict):
        return part
    if not (part.isdecimal() and int(part) < len(place)):
        raise UserError(f"{name}: {part!r} is no position in a list of {len(place)}")
    return int(part)


_TAGGED = ("sources",)
"""Fields that hold configs by name, each of a kind."""
_KINDS = {
    "int": "is not a whole number",
    "float": "is not a number",
    "bool": "is neither true nor false",
    "string": "is not a text",
    "tuple": "is not a list, which on a command line is JSON: [1, 2]",
}


def explain(error: ValidationError) -> str:
    """The first complaint of pydantic as one line, starting with the dotted name of the field."""
    complaints = error.errors(include_url=False)
    first = complaints[0]
    # Behind the name of one of several configs of a kind, pydantic puts the kind: sources.shop.jsonl.paths
    loc = first["loc"]
    name = ".".join(str(part) for at, part in enumerate(loc) if at < 2 or loc[at - 2] not in _TAGGED)
    message = str(first["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    kind = first["type"].split("_")[0]
    if first["type"] == "missing":
        message = "missing, it has no default"
    elif first["type"] == "too_short":
        message = f"{first['input']!r} is too short, it takes {first['ctx']['min_length']} at least"
    elif first["type"] == "union_tag_invalid":
        tags = re.findall(r"'(\w+)'", first["ctx"]["expected_tags"])
        message = f"no kind {first['ctx']['tag']!r}{nearest(first['ctx']['tag'], tags)}"
    elif first["type"] in ("unknown_name", "value_error", "assertion_error"):
        pass  # written by this project, complete as it is
    elif kind in _KINDS and first["type"].endswith(("_parsing", "_type", "_from_float")):
        message = f"{first['input']!r} {_KINDS[kind]}"
    else:
        message = f"{first['input']!r} {message.replace('Input should be', 'should be')}"
    others = f" (and {len(complaints) - 1} more like it)" if len(complaints) > 1 else ""
    return (f"{name}: " if name else "") + message + others


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest one allowed, and all of them in their order."""
    allowed = list(allowed)
    close = difflib.get_close_matches(name, allowed, n=1)
    return (f", did you mean {close[0]!r}?" if close else ",") + f" allowed: {', '.join(allowed)}"


def leaves(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested dicts and sequences of dicts, with its dotted name."""
    if isinstance(values, dict) and values:
        items: Iterable[tuple[Any, Any]] = values.items()
    elif isinstance(values, list | tuple) and any(isinstance(item, dict) for item in values):
        items = enumerate(values)
    else:
        yield name, values
        return
    for key, value in items:
        yield from leaves(value, f"{name}.{key}" if name else str(key))


def differences(a: Config, b: Config) -> list[str]:
    """The fields in which two configs differ, each as "dotted.name: value in a, value in b".

    Fields that may change (`Config.may_change`) are left out: two configs without differences give the same run.
    """
    # Through JSON, so that a config as it was made equals itself as it was read.
    first, second = (dict(leaves(config.model_dump(mode="json"))) for config in (a, b))
    free = tuple(_may_change(a))
    names = [name for name in dict.fromkeys([*first, *second]) if not f"{name}.".startswith(free)]
    shown = [
        (name, *(repr(values[name]) if name in values else "nothing" for values in (first, second))) for name in names
    ]
    return [f"{name}: {old}, {new}" for name, old, new in shown if old != new]


def _may_change(config: Config, prefix: str = "") -> Iterator[str]:
    yield from (f"{prefix}{name}." for name in config.may_change)
    for name in type(config).model_fields:
        if isinstance(section := getattr(config, name), Config):
            yield from _may_change(section, f"{prefix}{name}.")


def recipe_names() -> list[str]:
    """The recipes that come with the package, by name."""
    package = importlib.import_module("m6.recipes")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "recipe")


def load_recipe(name_or_path: str) -> Config:
    """The config that a recipe returns: one of the package by its name, or any `.py` file by its path.

    Raises UserError if there is no such recipe, if it cannot be read, or if it has no function `recipe`.
    """
    if name_or_path.endswith(".py"):
        path = Path(name_or_path)
        if not path.is_file():
            raise UserError(f"{path}: no such recipe file")
        spec = importlib.util.spec_from_file_location(f"m6_recipe_{path.stem}", path)
        assert spec, "a .py file always has a loader"
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except SyntaxError as error:
            raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
    else:
        if name_or_path not in recipe_names():
            raise UserError(
                f"no recipe {name_or_path!r}{nearest(name_or_path, recipe_names())}, or a path that ends in .py"
            )
        module = importlib.import_module(f"m6.recipes.{name_or_path}")
    make = getattr(module, "recipe", None)
    if not callable(make):
        raise UserError(f"{name_or_path}: a recipe needs a function `recipe()` that returns the whole config")
    config = make()
    if not isinstance(config, Config):
        raise UserError(f"{name_or_path}: recipe() returned {type(config).__name__}, it has to return the whole config")
    return config
