"""When two Documents count as one."""

from __future__ import annotations

from pydantic import Field

from m6.config import Config


class DuplicatesConfig(Config):
    """When two Documents count as one. Exact duplicates are always dropped."""

    similarity: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of the sets of character n-grams from which two texts are near duplicates."""
    ngram: int = Field(5, ge=1)
    """Characters in an n-gram; punctuation and spaces do not count."""
    bands: int = Field(16, ge=1)
    """Bands of the MinHash signature: texts that agree in one band are compared exactly."""
    rows: int = Field(4, ge=1)
    """Hashes in a band."""
    image_distance: int = Field(4, ge=1, le=16)
    """Bits (of 64) in which the difference hashes of two near-duplicate pictures may differ."""
    paragraph_length: int = Field(40, ge=1)
    """Characters from which a line counts as a paragraph."""
    paragraph_documents: int = Field(0, ge=0)
    """A paragraph that stands in more Documents than this is cut from all but the first; 0 leaves them."""
    against: tuple[str, ...] = ()
    """Evaluation files (JSON lines, CSV, Parquet): Documents that contain their texts are dropped."""
    against_ngram: int = Field(13, ge=1)
    """Characters in a run that a Document may not share with an evaluation text; shorter texts count whole."""
