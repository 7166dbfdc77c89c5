"""The settings of a server: out of flags and the environment, and what is refused before anything is loaded."""

from __future__ import annotations

import pytest

from m6.config import UserError
from m6.serve_flags import settings


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"port": "99999"}, "port"),
        ({"max_queue": "0"}, "max_queue"),
        ({"slots": "32", "text_slots": "40"}, "--text_slots 40: it has to be below --slots, here 32"),
        ({"text_slots": "32"}, "below --slots, here 32"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, str], line: str) -> None:
    with pytest.raises(UserError, match=line):
        settings(given)


def test_few_slots_need_no_more_said() -> None:
    assert settings({"slots": "2"}).slots == 2


def test_a_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings({}).api_key == ""
    monkeypatch.setenv("M6_API_KEY", "secret")
    assert settings({}).api_key == "secret"
    assert settings({"api_key": "other"}).api_key == "other"
