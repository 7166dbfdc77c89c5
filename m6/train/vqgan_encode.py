"""Image codes of a corpus, computed once: shards beside its own, row for row, with the hash of the tokenizer.

    codes/
        shard-00000.parquet ..   height, width and codes of each row; nothing for a row without a picture
        begun.json               while it is not whole: of what these are the codes
        manifest.json            last, with the same

A shard is there whole or not at all. Whoever is killed finds those that were written, looks whether each can be read,
and goes on with the next; what is there of another tokenizer or another corpus is not taken for it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from m6.config import UserError
from m6.data.images import codes_schema
from m6.data.pictures import picture_rows, read_picture, to_tensor
from m6.data.unusable import UnusableError
from m6.model.weights import WEIGHTS, newest, sha256, state_of
from m6.run import progress, write_atomic
from m6.shards import MANIFEST, ShardFile, Shards, is_whole, write_manifest, write_shard
from m6.vqgan.model import VQGAN

BATCH = 64
ROWS_PER_SHARD = 16_384
BEGUN = "begun.json"


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weights of the newest checkpoint of a folder, as `m6.model.weights.beside` names them; "" if
    there is none."""
    try:
        found = newest(folder, "vqgan")
    except UserError:
        return ""
    own = sorted(digest for name, digest in state_of(found)["sha256"].items() if name.startswith(f"{WEIGHTS}/"))
    return hashlib.sha256("".join(own).encode()).hexdigest()


def encode_corpus(
    model: VQGAN,
    corpus: Path,
    folder: Path,
    tokenizer: str,
    tile: int = 0,
    batch_size: int = BATCH,
    rows_per_shard: int = ROWS_PER_SHARD,
) -> None:
    """Writes the codes of every picture of the shards in `corpus` into `folder`, or what is missing of them.

    tokenizer: the hash of the model. A picture that cannot be read gets no codes. UserError for one whose sides do not
    divide; what was written before it stays.
    """
    model.eval()
    shards = Shards(corpus)
    about = {
        "tokenizer": tokenizer,
        "corpus": sha256(corpus / MANIFEST),
        "num_codes": model.config.num_codes,
        "rows_per_shard": rows_per_shard,
    }
    kept = _kept(folder, about)
    has_picture = [bool(source) for source, _ in picture_rows(shards)]
    unusable: list[UnusableError] = []
    written: list[ShardFile] = []
    starts = range(0, max(len(shards), 1), rows_per_shard)
    with progress(len(shards), "encode") as bar:
        for number, start in enumerate(starts):
            rows = range(start, min(start + rows_per_shard, len(shards)))
            shard = _read_shard(folder, number, len(rows), kept)
            if shard is None:
                tables = []
                for first in range(rows.start, rows.stop, batch_size):
                    some = rows[first - rows.start : first - rows.start + batch_size]
                    chosen = [row for row in some if has_picture[row]]
                    grids = dict(_encoded(model, shards, chosen, tile, unusable))
                    tables.append(_table(grids, some, model.config.num_codes))
                    bar.advance(len(some))
                empty = codes_schema(model.config.num_codes).empty_table()
                shard = write_shard(folder, number, pa.concat_tables([empty, *tables]))
            else:
                bar.advance(len(rows))
            written.append(shard)
    write_manifest(folder, written, codes_schema(model.config.num_codes), about)
    (folder / BEGUN).unlink(missing_ok=True)
    if unusable:
        print(f"encode: {len(unusable)} pictures cannot be read and have no codes; {unusable[-1]}", file=sys.stderr)


def other_codes(folder: Path, corpus: Path, tokenizer: str) -> str:
    """Of what else, in words, the codes in a folder are those; "" if they are those of this corpus and tokenizer, or
    if there are none."""
    for name in (MANIFEST, BEGUN):
        if not (folder / name).exists():
            continue
        found = json.loads((folder / name).read_text(encoding="utf-8"))
        found = found["about"] if name == MANIFEST else found
        if found.get("tokenizer", tokenizer) != tokenizer:
            return "another image tokenizer"
        if found.get("corpus") not in (None, sha256(corpus / MANIFEST)):
            return "another corpus"
    return ""


def check_codes(folder: Path, tokenizer: str) -> None:
    """Reads every byte of the codes in a folder. UserError if a shard is damaged or missing, or if they were made by
    another tokenizer than the one of this hash; "" is none to compare with."""
    again = f"`m6 vqgan encode {folder.parent.parent}`"
    shards = Shards(folder)
    made_by = shards.about.get("tokenizer", "")
    if tokenizer and made_by and made_by != tokenizer:
        raise UserError(
            f"{folder}: codes of another image tokenizer than the one beside them; remove {folder}, and make them anew "
            f"by {again}"
        )
    try:
        shards.verify()
    except UserError as error:
        raise UserError(f"{error}, by {again}") from None


def _kept(folder: Path, about: dict[str, Any]) -> dict[str, str]:
    """Gets a folder ready for these codes, and returns the hashes of the shards that a whole one has; of other codes
    nothing stays."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    digests: dict[str, str] = {}
    if is_whole(folder):
        whole = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found, digests = whole["about"], {shard["file"]: shard["sha256"] for shard in whole["shards"]}
    elif (folder / BEGUN).exists():
        found = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
    if found != about:
        for stale in folder.glob("shard-*.parquet"):
            stale.unlink()
        digests = {}
    write_atomic(folder / BEGUN, json.dumps(about, indent=1) + "\n")
    (folder / MANIFEST).unlink(missing_ok=True)
    return digests


def _read_shard(folder: Path, number: int, rows: int, digests: dict[str, str]) -> ShardFile | None:
    """A shard that is there and whole."""
    path = folder / f"shard-{number:05d}.parquet"
    if not path.exists():
        return None
    digest = sha256(path)
    try:
        found = pq.read_table(path).num_rows
    except (OSError, pa.ArrowException):
        return None
    if found != rows or digests.get(path.name, digest) != digest:
        return None
    return ShardFile(path.name, rows, path.stat().st_size, digest)


def _encoded(
    model: VQGAN, shards: Shards, rows: Sequence[int], tile: int, unusable: list[UnusableError]
) -> Iterator[tuple[int, np.ndarray]]:
    """Rows with the codes [h, w] of their pictures, those of one size together."""
    sizes: dict[tuple[int, ...], dict[int, np.ndarray]] = defaultdict(dict)
    for row in rows:
        try:
            pixels = read_picture(shards, row)[1]
        except UnusableError as error:
            unusable.append(error)
        else:
            sizes[pixels.shape][row] = pixels
    for pictures in sizes.values():
        try:
            images = to_tensor(np.stack(list(pictures.values()))).to(next(model.parameters()).device)
            codes = model.encode(images, tile).cpu()
        except UserError as error:
            raise UserError(f"{shards.folder}, row {next(iter(pictures))}: {error}") from None
        yield from zip(pictures, codes.numpy(), strict=True)


def _table(grids: dict[int, np.ndarray], rows: Sequence[int], num_codes: int) -> pa.Table:
    records = [
        {"height": grids[row].shape[0], "width": grids[row].shape[1], "codes": grids[row].flatten().tolist()}
        if row in grids
        else {"height": 0, "width": 0, "codes": []}
        for row in rows
    ]
    return pa.Table.from_pylist(records, codes_schema(num_codes))
