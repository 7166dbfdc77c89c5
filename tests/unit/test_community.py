"""What stands beside the code for readers: the citation, and the forms for issues."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from m6 import __version__

ROOT = Path(__file__).parents[2]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_citation_is_of_this_version_and_names_the_paper() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert told.keys() >= {"cff-version", "message", "title", "authors"}  # what its schema needs
    assert (told["type"], told["version"]) == ("software", __version__)
    (paper,) = told["references"]
    assert paper["url"] == "https://arxiv.org/abs/2103.00823"
    assert len(paper["authors"]) == 25


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_have_what_their_readers_need(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form.keys() >= {"name", "description", "body"}
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)
