"""What the page is made of: figures, examples and metrics, as the stages left them in the run folder."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m6.run import read_metrics

STAGES = ("corpus", "tokenizer", "vqgan", "pretrain", "evaluate")
TRAININGS = ("vqgan", "pretrain")


@dataclass(frozen=True)
class Material:
    """Everything that the sections read; what the run does not have is empty."""

    folder: Path
    results: dict[str, Any]
    """results.json: scores by dotted key."""
    examples: dict[str, list[dict[str, Any]]]
    """evaluate/examples.json: what the model read, answered and painted, by kind."""
    corpus: dict[str, Any]
    """corpus/report.json."""
    stages: dict[str, dict[str, Any]]
    """The figures of the stages that have ended."""
    metrics: dict[str, list[dict[str, Any]]]
    """The rows of both trainings."""
    config: dict[str, Any]
    versions: dict[str, str]

    @classmethod
    def read(cls, folder: Path) -> Material:
        """All that is there in a run folder."""
        return cls(
            folder=folder,
            results=_json(folder / "results.json"),
            examples=_json(folder / "evaluate" / "examples.json"),
            corpus=_json(folder / "corpus" / "report.json"),
            stages={name: done for name in STAGES if (done := _json(folder / name / "done.json"))},
            metrics={name: read_metrics(folder / name / "metrics.jsonl") for name in TRAININGS},
            config=_json(folder / "config.json"),
            versions=_json(folder / "versions.json"),
        )

    def of(self, kind: str, *splits: str) -> list[dict[str, Any]]:
        """The examples of a kind, from some splits or from all."""
        found = self.examples.get(kind, [])
        return [example for example in found if example["split"] in splits] if splits else found

    def figure(self, stage: str, name: str) -> Any:
        """A figure of a stage, or None."""
        return self.stages.get(stage, {}).get(name)

    def picture_path(self, name: str) -> Path:
        """Where a picture of the examples lies."""
        return self.folder / "evaluate" / "pictures" / Path(name).name

    def picture(self, name: str) -> str | None:
        """A PNG of the examples as a data URI, or None if it is not there."""
        path = self.picture_path(name)
        if not path.is_file():
            return None
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _json(path: Path) -> dict[str, Any]:
    """The object in a file, or an empty one; what is not a finite number becomes None, as if it had no value."""
    if not path.exists():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    assert isinstance(content, dict), path
    return content
