"""What runs a server under Ray, up to where Ray takes over."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import pytest

from m6.shipped import SHIPPED

SCRIPT = Path(__file__).parents[3] / "examples" / "launch" / "ray_serve.py"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ray_serve", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mini_is_served_by_its_name_with_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", MagicMock())
    monkeypatch.setenv("M6_API_KEY", "secret")
    module = loaded()
    assert module.main(["mini", "--slots", "8"]) == 0
    folder, values = module.M6.options.return_value.bind.call_args.args
    assert folder == str(SHIPPED["mini"].absolute())
    assert (values["slots"], values["api_key"]) == (8, "secret")


def test_a_package_that_is_missing_is_named_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as ended:
        loaded()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "ray_serve: ray is missing: pip install 'open-m6[serve]' 'ray[serve]'\n"
