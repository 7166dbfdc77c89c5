"""Pairs chosen by a trained run: `pairs.match_checkpoint` through the whole build, against the losses it stands for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from m6.corpus.config import ImageRules
from m6.corpus.images.prepare import Picture as Prepared
from m6.corpus.images.prepare import prepare
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.data.images import decode_image
from m6.data.packing import pack
from m6.data.sample import Branch, Sample, Text
from m6.generate.engine import Engine
from m6.generate.match import Matcher
from m6.model.masks import boolean_mask
from m6.shards import Shards
from tests.smoke.conftest import m6

pytestmark = pytest.mark.xdist_group("smoke")


def folder_of_pairs(path: Path, count: int) -> list[tuple[bytes, str]]:
    """Emoji as somebody's pictures, with their names beside them."""
    path.mkdir()
    pairs = []
    for row in emoji_rows()[: count * 5 : 5]:
        data, text = emoji_pictures()[row["file"]], f"一张{row['name']}的图"
        (path / row["file"]).write_bytes(data)
        (path / row["file"]).with_suffix(".txt").write_text(text, encoding="utf-8")
        pairs.append((data, text))
    return pairs


def nats(engine: Engine, sample: Sample) -> float:
    """How unlikely the target is, written out: log-softmax of the logits of one sample in a row of its own."""
    batch = pack([sample], engine.vocabulary, engine.model.config.patch_size, 512)
    mask = boolean_mask(batch.sample, batch.branch, batch.causal)
    with torch.no_grad():
        hidden = engine.model(batch.ids, batch.position, mask, batch.pictures, batch.patch_at)
        logits = engine.model.logits(hidden.flatten(0, 1)[batch.label_at]).double()
    return -float(logits.log_softmax(-1).gather(1, batch.labels[:, None]).sum())


def test_the_score_is_what_the_picture_adds_to_the_text(run: Path, tmp_path: Path) -> None:
    pairs = folder_of_pairs(tmp_path / "in", 6)
    matcher = Matcher(run)
    engine = matcher.engine
    expected = []
    for data, text in pairs:
        kept = prepare(data, ImageRules(fewest_pixels=0), engine.picture_size)
        assert isinstance(kept, Prepared)
        ids = Text(tuple(engine.tokenizer.encode(text)))
        target = (Branch("captioning", (), ids),)
        seen = nats(engine, Sample("x", (engine.picture(decode_image(kept.data)),), target))
        expected.append((nats(engine, Sample("x", (), target)) - seen) / len(ids.ids))
    assert np.allclose(matcher(pairs), expected, atol=1e-4)
    assert np.ptp(expected) > 1e-4  # the picture does change what the model says


def test_a_build_keeps_what_matches(run: Path, tmp_path: Path) -> None:
    pairs = folder_of_pairs(tmp_path / "in", 12)
    scores = dict(zip((text for _, text in pairs), Matcher(run)(pairs), strict=True))
    limit = sum(sorted(scores.values())[5:7]) / 2
    flags: list[str | Path] = ["--rules.pairs.match_checkpoint", run, "--rules.pairs.smallest_match", f"{limit:.9f}"]
    rules: list[str | Path] = ["--rules.text.rules", "[]", "--rules.images.fewest_pixels", "0"]
    done = m6("corpus", "files", "--paths", tmp_path / "in", "--out", tmp_path / "out", *flags, *rules)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["drops"]["text and picture do not match"] == 6
    kept = [row["text"] for table in Shards(tmp_path / "out").tables() for row in table.to_pylist()]
    assert len(kept) > 3  # pictures that look alike may have gone
    assert all(scores[text] > limit for text in kept)
