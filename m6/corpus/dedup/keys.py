"""Keys: what the duplicates of a Document are found by, one row each, beside the Documents of a part.

In: cleaned Documents. Out: a table with the columns of `KEYS`. It is some hundred bytes a Document however large the
Document is, so that duplicates are looked for without touching texts and pictures again, but for the few candidates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa

from m6.corpus.config import DuplicatesConfig, SourceConfig
from m6.corpus.dedup import minhash
from m6.corpus.document import Document

KEYS = pa.schema(
    [
        ("content", pa.binary(16)),  # hash of title, text and pictures, without the source
        ("letters", pa.uint64()),  # hash of the letters of the text; null where near texts are not looked for
        ("ngrams", pa.uint32()),  # how many there are in the text, or null
        ("bands", pa.list_(pa.uint64())),  # of the MinHash signature of the text, or null
        ("picture", pa.uint64()),  # difference hash of the picture; null where near pictures are not looked for
        ("blocks", pa.list_(pa.uint64())),  # the same, cut in blocks
        ("caption", pa.uint64()),  # hash of source and text; null where it does not count how many pictures it has
        ("most_pictures", pa.uint32()),  # that it may have
        ("paragraphs", pa.list_(pa.uint64())),  # hashes of the long lines, each once; null where they are not counted
    ]
)
HASH_BITS = 64


def keys_of(found: Sequence[tuple[Document, int | None]], rules: SourceConfig, config: DuplicatesConfig) -> pa.Table:
    """The keys of cleaned Documents of one source, each with the difference hash of its first picture or None.

    Near duplicates are told by their text among Documents without pictures, else by their first picture: one caption
    may stand under many pictures.
    """
    documents = [document for document, _ in found]
    pictures = [picture if rules.near_images else None for _, picture in found]
    most = rules.pairs.most_pictures_of_a_text
    captions = [
        line_hash(f"{document['source']}\n{document['text']}") if most and document["images"] else None
        for document in documents
    ]
    columns = {
        "content": [_content(document) for document in documents],
        **_text_columns([rules.near_texts and not document["images"] for document in documents], documents, config),
        "picture": pictures,
        "blocks": [None if picture is None else blocks(picture, config.image_distance) for picture in pictures],
        "caption": captions,
        "most_pictures": [None if caption is None else most for caption in captions],
        "paragraphs": [_paragraphs(document["text"], config) for document in documents],
    }
    return pa.table(columns, KEYS)


def _content(document: Document) -> bytes:
    title, text = document["title"], document["text"]
    digest = hashlib.blake2b(f"{len(title)} {len(text)} {title}{text}".encode(), digest_size=16)
    for image in document["images"]:
        digest.update(hashlib.blake2b(image["bytes"], digest_size=16).digest())
    return digest.digest()


def _text_columns(
    wanted: Sequence[bool], documents: Sequence[Document], config: DuplicatesConfig
) -> dict[str, pa.Array | list[None]]:
    """The keys of texts; null where they are not wanted, or the text has no n-gram."""
    rows: list[np.ndarray] = []
    letters: list[np.ndarray] = []
    counts: list[np.ndarray] = []
    bands: list[np.ndarray] = []
    numbers = [number for number, is_wanted in enumerate(wanted) if is_wanted]
    start = 0
    for texts in minhash.blocks([documents[number]["text"] for number in numbers]):
        codes, lengths = minhash.letter_codes(texts)
        hashes, num_grams = minhash.hash_ngrams(codes, lengths, config.ngram)
        long = num_grams > 0
        rows.append(np.array(numbers[start : start + len(texts)], np.int64)[long])
        counts.append(num_grams[long])
        if long.any():
            letters.append(minhash.text_hashes(hashes, num_grams[long]))
            bands.append(minhash.band_hashes(hashes, num_grams[long], config.bands, config.rows))
        start += len(texts)
    if not letters:
        return {name: [None] * len(documents) for name in ("letters", "ngrams", "bands")}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(bands).ravel()), config.bands)
    places = np.full(len(documents), -1, np.int64)
    chosen = np.concatenate(rows)
    places[chosen] = np.arange(len(chosen))
    take = pa.array(places, mask=places < 0)
    return {
        "letters": pa.array(np.concatenate(letters)).take(take),
        "ngrams": pa.array(np.concatenate(counts), pa.uint32()).take(take),
        "bands": lists.cast(pa.list_(pa.uint64())).take(take),
    }


def _paragraphs(text: str, config: DuplicatesConfig) -> list[int] | None:
    if not config.paragraph_documents:
        return None
    return sorted({line_hash(line) for line in text.split("\n") if len(line) >= config.paragraph_length})


def line_hash(line: str) -> int:
    """64 bits."""
    return int.from_bytes(hashlib.blake2b(line.encode(), digest_size=8).digest(), "little")


def blocks(picture: int, distance: int) -> list[int]:
    """A hash of 64 bits cut in `distance` + 1 blocks, each with its place. Two hashes that differ in at most
    `distance` bits agree in at least one of them, so no pair is missed."""
    edges = [HASH_BITS * number // (distance + 1) for number in range(distance + 2)]
    return [
        number << 32 | picture >> low & (1 << high - low) - 1  # a block has at most 32 bits
        for number, (low, high) in enumerate(pairwise(edges))
    ]
