"""Evaluation: every task on what the model has seen and on what it has not, each score beside a trivial baseline.

The parts of the evaluation stand in `PARTS`; each gives scores and examples for the report, and is kept on disk when
it is done, so that an interrupted evaluation goes on with the next. Scores are named as in `results.json`; a score
`x` has its baseline under `x.baseline` and its bootstrap interval under `x.low` and `x.high`.

    material.py   what the parts share: the trained model, the documents and their pictures
    captions.py, questions.py, matches.py, verses.py, paintings.py   the parts, in the order in which they are done
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from m6.run import Run, progress, write_atomic
from m6.train.config import EvaluateStage
from m6.train.evaluate import captions, matches, paintings, questions, verses
from m6.train.evaluate.material import Evaluation, Examples, Scores
from m6.train.results import write_results

__all__ = ["run", "write_results"]

PARTS: dict[str, Callable[[Evaluation], tuple[Scores, Examples]]] = {
    "captions": captions.captions,
    "questions": questions.questions,
    "match": matches.match,
    "verse": verses.verse,
    "paintings": paintings.paintings,
    "painted_scenes": paintings.painted_scenes,
    "reconstructions": paintings.reconstructions,
}


def run(run: Run, stage: EvaluateStage, seed: int) -> dict[str, Any]:
    """Scores and examples in the run folder's `evaluate`."""
    folder = run.stage("evaluate")
    (folder / "pictures").mkdir(exist_ok=True)
    about = Evaluation(run.folder, stage, seed)
    scores: Scores = {}
    examples: Examples = {}
    for name, part in progress(list(PARTS.items()), "evaluate"):
        path = folder / f"{name}.json"
        if not path.exists():
            found, shown = part(about)
            write_atomic(path, json.dumps({"scores": found, "examples": shown}, ensure_ascii=False, indent=1))
        kept = json.loads(path.read_text(encoding="utf-8"))
        scores |= kept["scores"]
        for kind, rows in kept["examples"].items():
            examples.setdefault(kind, []).extend(rows)
    write_atomic(folder / "scores.json", json.dumps(scores, indent=1))
    write_atomic(folder / "examples.json", json.dumps(examples, ensure_ascii=False, indent=1))
    return {"scores": len(scores)}
