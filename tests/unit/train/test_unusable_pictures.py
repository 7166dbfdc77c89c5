"""The image tokenizer skips pictures that do not decode, in training and when it writes codes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from m6.config import UserError
from m6.corpus.document import SCHEMA
from m6.data.images import CodeStore
from m6.data.pictures import Pictures
from m6.shards import Shards, write_shards
from m6.train.vqgan_encode import encode_corpus
from m6.vqgan.config import VQGANConfig
from m6.vqgan.model import VQGAN
from tests.unit.small_corpus import documents


def corpus(folder: Path, bad: int) -> list[str]:
    """Twelve emoji, every `bad`-th of them cut short; their ids."""
    rows = [row for row in documents() if row["source"] == "emoji" and row["split"] == "train"][:12]
    for row in rows[::bad]:
        row["images"][0]["bytes"] = row["images"][0]["bytes"][:60]
    table = pa.Table.from_pylist([{**row, "attributes": list(row["attributes"].items())} for row in rows], SCHEMA)
    write_shards(folder, [table], SCHEMA, rows_per_shard=50)
    return [row["id"] for row in rows]


def test_a_picture_that_does_not_decode_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    ids = corpus(tmp_path, 4)
    pictures = Pictures(tmp_path, 6, seed=0)
    batches = [pictures[step] for step in range(2)]  # one epoch
    assert [len(batch.ids) for batch in batches] == [6, 6]
    assert all(batch.pixels.shape[0] == 6 for batch in batches)
    skipped = {each.key for batch in batches for each in batch.skipped}
    assert skipped == {f"emoji/{identity}" for identity in ids[::4]}
    assert not {f"emoji/{identity}" for batch in batches for identity in batch.ids} & skipped
    assert np.array_equal(pictures[1].pixels, Pictures(tmp_path, 6, seed=0)[1].pixels)


def test_a_piece_is_cut_out_of_each_picture_at_its_own_place(tmp_path: Path) -> None:
    corpus(tmp_path, 99)
    whole, cut = Pictures(tmp_path, 6, seed=0)[1], Pictures(tmp_path, 6, seed=0, crop=24)[1]
    assert cut.ids == whole.ids
    assert cut.pixels.shape == (6, 24, 24, 3)
    found = set()
    for picture, piece in zip(whole.pixels, cut.pixels, strict=True):
        places = [
            (top, left)
            for top in range(41)
            for left in range(41)
            if np.array_equal(picture[top : top + 24, left : left + 24], piece)
        ]
        assert places
        found.add(places[0])
    assert len(found) > 1
    assert np.array_equal(cut.pixels, Pictures(tmp_path, 6, seed=0, crop=24)[1].pixels)


def test_pictures_of_which_none_decodes_are_refused(tmp_path: Path) -> None:
    corpus(tmp_path, 1)
    with pytest.raises(UserError, match=r"none of the pictures of step 0 can be read; emoji/"):
        Pictures(tmp_path, 2, seed=0)[0]


def test_a_picture_that_does_not_decode_has_no_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = corpus(tmp_path / "corpus", 4)
    encode_corpus(VQGAN(VQGANConfig()), tmp_path / "corpus", tmp_path / "codes", "")
    store = CodeStore(tmp_path / "codes")
    assert [store[row].size == 0 for row in range(12)] == [row % 4 == 0 for row in range(12)]
    assert "encode: 3 pictures cannot be read and have no codes; emoji/" in capsys.readouterr().err
    assert len(Shards(tmp_path / "codes")) == len(ids)
