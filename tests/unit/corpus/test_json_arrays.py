"""Arrays of a JSON file, element by element: the same as the json module reads whole, and what is broken is told."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.corpus.read import json_arrays
from m6.corpus.read.json_arrays import Element, elements

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_subnormal=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FILES = st.dictionaries(st.text(max_size=4), VALUES | st.lists(VALUES, max_size=6), max_size=4)


def of(text: str) -> list[Element]:
    return list(elements(io.StringIO(text)))


@settings(max_examples=60, deadline=None)
@given(FILES, st.sampled_from([None, 1]), st.booleans(), st.integers(1, 40))
def test_elements_are_those_of_the_json_module(
    content: dict[str, Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    before, json_arrays.CHUNK = json_arrays.CHUNK, chunk
    try:
        found = of(text)
    finally:
        json_arrays.CHUNK = before
    arrays = {name: values for name, values in content.items() if isinstance(values, list)}
    assert [(one.array, one.index, one.value) for one in found] == [
        (name, number, value) for name, values in arrays.items() for number, value in enumerate(values)
    ]
    assert not any(one.reason for one in found)
    for one in found:
        assert json.JSONDecoder().raw_decode(text, one.offset)[0] == one.value


@pytest.mark.parametrize("chunk", [1, 3, 2**20])
def test_a_broken_element_does_not_take_the_others_with_it(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_arrays, "CHUNK", chunk)
    text = '{"info": {"a": [0]}, "list": [{"a": 1}, {"b": }, {"c": "]}\\"", tru}, 猫, [1, {}], "\\ud800"], "last": [5]}'
    assert [(one.value, one.reason) for one in of(text)] == [
        ({"a": 1}, ""),
        (None, "not JSON"),
        (None, "not JSON"),
        (None, "not JSON"),
        ([1, {}], ""),
        ("\ud800", ""),
        (5, ""),
    ]


@pytest.mark.parametrize("chunk", [1, 2**20])
def test_a_file_cut_anywhere_keeps_what_is_whole(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_arrays, "CHUNK", chunk)
    text = '{"info": {"year": 2014}, "images": [{"id": 1}, {"id": 22}], "annotations": [{"x": "一只\\"猫"}]}'
    whole = of(text)
    for length in range(1, len(text)):
        found = of(text[:length])
        assert [one.reason for one in found if one.reason] == ["truncated file"], text[:length]
        assert found[-1].reason
        assert 0 <= found[-1].offset < length
        assert found[:-1] == whole[: len(found) - 1]


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("", ["empty file"]),
        (" \n", ["empty file"]),
        ("<html><body>404 Not Found", ["not JSON"]),
        ("[]", []),
        ("{}", []),
        ("[1 } 2]", ["", "not JSON"]),
        ("{1: [2]}", ["not JSON"]),
        ('{"a" [2]}', ["not JSON"]),
        ('{"a": ], "b": [1]}', ["not JSON", "not JSON"]),
        ("[" * 100_000, ["truncated file"]),
        ("[" + "[" * 100_000 + "]" * 100_000 + ", 1]", ["not JSON", ""]),
    ],
)
def test_what_is_no_json_is_told(text: str, reasons: list[str]) -> None:
    assert [one.reason for one in of(text)] == reasons


def test_an_element_too_long_is_told_and_passed_over_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_arrays, "LONGEST_ELEMENT", 1_000)
    monkeypatch.setattr(json_arrays, "CHUNK", 100)
    longest = 0
    more = json_arrays._Window._more

    def measured(self: Any) -> bool:
        nonlocal longest
        result = more(self)
        longest = max(longest, len(self._buffer))
        return result

    monkeypatch.setattr(json_arrays._Window, "_more", measured)
    text = json.dumps([{"text": '猫"]}\\' * 20_000}, {"text": "狗" * 1_500}, {"text": "鸟"}], ensure_ascii=False)
    assert [(one.value, one.reason) for one in of(text)] == [
        (None, "long record"),
        (None, "long record"),
        ({"text": "鸟"}, ""),
    ]
    assert longest < 5_000
