"""A user's picture file reaches the model as the corpus would have brought it there."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from m6.config import UserError
from m6.corpus.config import EmojiConfig
from m6.corpus.images.prepare import Picture, prepare
from m6.corpus.starter import emoji_pictures, emoji_rows
from m6.data.images import decode_image
from m6.generate import answers
from m6.generate.engine import Engine
from m6.generate.prefill import Prefix
from m6.tasks.task import named
from tests.unit.generate.small_engine import small_engine

ENGINE = SimpleNamespace(picture_size=64)
RULES = EmojiConfig().images


def read(path: Path) -> np.ndarray:
    return answers.read_picture(path, ENGINE, RULES)  # type: ignore[arg-type]


def test_a_cut_out_is_treated_as_the_corpus_treats_it(tmp_path: Path) -> None:
    encoded = emoji_pictures()[emoji_rows()[200]["file"]]
    (tmp_path / "emoji.png").write_bytes(encoded)
    kept = prepare(encoded, RULES, 64)
    assert isinstance(kept, Picture)
    assert (read(tmp_path / "emoji.png") == decode_image(kept.data)).all()


def test_a_picture_without_transparency_at_the_right_size_stays_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "painting.png")
    assert (read(tmp_path / "painting.png") == pixels).all()


@pytest.mark.parametrize("size", [(300, 120), (9, 9), (64, 200)])
def test_any_size_is_laid_whole_on_a_white_square(tmp_path: Path, size: tuple[int, int]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "JPEG")
    (tmp_path / "wide.jpg").write_bytes(buffer.getvalue())
    pixels = read(tmp_path / "wide.jpg")
    assert pixels.shape == (64, 64, 3)
    red = pixels[..., 1] < 100
    assert abs(red.mean() - min(size) / max(size)) < 0.05
    assert red[32, 32]


def test_requests_are_those_that_the_tasks_train_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question without a picture and a product are asked for with the prompts of their tasks, cues and all."""
    asked: list[tuple[Prefix, int]] = []

    def write(prefixes: list[Prefix], most: int, *_: object) -> list[list[int]]:
        asked.append((prefixes[0], most))
        return [[]]

    engine = small_engine()
    monkeypatch.setattr(engine, "write", write)
    monkeypatch.setattr(Engine, "load", lambda folder, int8=False: engine)
    monkeypatch.setattr(answers, "learnt_by", lambda folder: {"question_answering", "product_description"})
    answers.answer(tmp_path, "什么是云")
    answers.describe(tmp_path, "晴雨伞", [("颜色", "红")])
    records: list[tuple[str, dict[str, object]]] = [
        ("question_answering", {"question": "什么是云", "answer": "水"}),
        ("product_description", {"title": "晴雨伞", "attributes": {"颜色": "红"}, "description": "轻便。"}),
    ]
    for (prefix, most), (name, record) in zip(asked, records, strict=True):
        (example,) = named(name).read(record, tmp_path, "key")
        assert (prefix, most) == ((engine.text(example.prompt),), named(name).LONGEST)
    with pytest.raises(UserError, match="give --title, --attributes or --image"):
        answers.describe(tmp_path)
