"""What the corpus is built from and by which thresholds. No library but pydantic is imported here.

The rules and, where known, their defaults are those of the paper (M6, section 2.5; recalled, not checked against the
print): topics of at least 5 characters, contents of at least 15, pictures of more than 5,000 pixels. They were made for
web pages; a source whose texts are captions or whose pictures are icons has defaults of its own, which say why.
"""

from __future__ import annotations

from pydantic import Field

from m6.config import Config


class TextRules(Config):
    """Thresholds of the text rules, in characters and shares of all characters."""

    rules: tuple[str, ...] = (
        "no_text",
        "broken_characters",
        "short_title",
        "short_text",
        "long_text",
        "not_chinese",
        "repetition",
    )
    """Rules of `m6/corpus/text.py` by name, in the order in which they are asked."""
    shortest_title: int = 5
    """Characters; an empty title is no title and passes."""
    shortest_text: int = 15
    """Characters."""
    longest_text: int = 100_000
    """Characters."""
    smallest_chinese_share: float = Field(0.3, ge=0, le=1)
    """Share of Chinese characters among all letters and digits."""
    largest_repeated_share: float = Field(0.5, ge=0, le=1)
    """Share of the text that its most frequent line may take, for texts of at least four lines."""


class ImageRules(Config):
    """Thresholds of the picture rules, asked before a picture is brought to the training size."""

    fewest_pixels: int = 5_000
    """Width times height."""
    most_pixels: int = 30_000_000
    """Width times height, read from the header: a larger picture is never decoded."""
    most_bytes: int = 30_000_000
    """Bytes of the encoded picture."""
    largest_aspect: float = 5.0
    """Longer side over shorter side."""
    smallest_contrast: int = 8
    """Least difference between the brightest and the darkest value (0 to 255) of a channel; below it is one colour."""
    crop: bool = False
    """Cut transparent borders off and enlarge what is left to the whole picture."""
    margin: int = 0
    """White pixels around a cropped picture."""


class SourceConfig(Config):
    """What every source has: its rules and whether near duplicates are looked for."""

    text: TextRules = TextRules()
    """Rules for the texts of this source."""
    images: ImageRules = ImageRules()
    """Rules for the pictures of this source."""
    near_texts: bool = True
    """Drop texts (of Documents without pictures) that nearly equal another one."""
    near_images: bool = True
    """Drop Documents whose picture nearly equals another one."""


class EmojiConfig(SourceConfig):
    """The bundled pictures: Noto emoji with Chinese names and keywords."""

    most: int = 2_000
    """Pictures to take, the first in the order of Unicode."""
    categories: tuple[str, ...] = ()
    """Categories to take (动物, 水果, 食物, ...); empty takes all."""
    num_keywords: int = 5
    """Keywords in the text, at most."""
    smallest_colour_share: float = Field(0.4, ge=0, le=1)
    """Share of the picture that its main colour must have to be asked for."""
    text: TextRules = TextRules(shortest_title=1, shortest_text=1, smallest_chinese_share=0)
    """A name may be one character (猫, OK)."""
    images: ImageRules = ImageRules(fewest_pixels=64 * 64, crop=True, margin=3)
    """Emoji are 64 x 64 = 4,096 pixels, fewer than the 5,000 asked of web pictures, but sharp at the training size."""
    near_images: bool = False
    """Flags and clocks nearly equal each other and are yet different things."""


class PoemsConfig(SourceConfig):
    """The bundled classical poems."""

    most: int = 10_000
    """Poems to take, well-known collections first."""
    forms: tuple[str, ...] = ()
    """Forms to take (五言绝句, 七言律诗, 词, ...); empty takes all."""
    text: TextRules = TextRules(shortest_title=1)
    """A poem may be called 风 or 月."""


class ScenesConfig(SourceConfig):
    """Scenes made of bundled pictures: how many, and how freely things lie in them."""

    train: int = 12_000
    """Scenes for training."""
    heldout: int = 600
    """Scenes of held-out combinations."""
    size: int = 64
    """Side of the canvas, pixels."""
    sides: tuple[int, ...] = (24, 28)
    """Longer side of a thing, pixels; one is drawn for each thing."""
    jitter: int = 4
    """How far a thing may lie from the centre of its place, pixels along either axis."""
    raster: int = 8
    """Things start at multiples of this many pixels; 1 is anywhere."""
    heldout_share: float = Field(0.15, ge=0, le=1)
    """Share of the combinations that only held-out scenes show."""
    text: TextRules = TextRules(shortest_title=1, shortest_text=1)
    """The captions are made, not found: 一个梨."""
    images: ImageRules = ImageRules(fewest_pixels=1)
    """The pictures are made at the training size."""
    near_images: bool = False
    """Scenes of the same things differ in their places alone, on purpose."""


class FolderConfig(SourceConfig):
    """A folder of pictures, each with its text in a file of the same name that ends in .txt."""

    path: str = ""
    """The folder; the folders in it are searched too."""
    heldout_share: float = Field(0.05, ge=0, le=1)
    """Share of the records held out, chosen by a hash of their name."""
    text: TextRules = TextRules(shortest_text=2)
    """Texts beside pictures are captions."""


class JsonLinesConfig(SourceConfig):
    """Files of one JSON object a line."""

    paths: tuple[str, ...] = ()
    """The files, UTF-8."""
    text_field: str = "text"
    """The field with the text."""
    title_field: str = "title"
    """The field with the title; it may be missing."""
    image_field: str = "image"
    """The field with the path of a picture, from the folder of the file and inside it; it may be missing."""
    heldout_share: float = Field(0.05, ge=0, le=1)
    """Share of the records held out, chosen by a hash of their content."""


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


class CorpusConfig(Config):
    """The corpus: sources, rules, duplicates, shards."""

    sources: tuple[str, ...] = ("emoji", "poems")
    """Names of the files in `m6/corpus/sources`, in the order in which their Documents stand in the shards."""
    image_size: int = 64
    """Width and height of a picture in the shards, in pixels."""
    rows_per_shard: int = Field(4_096, ge=1)
    """Documents in one Parquet file."""
    emoji: EmojiConfig = EmojiConfig()
    """Source `emoji`."""
    poems: PoemsConfig = PoemsConfig()
    """Source `poems`."""
    scenes: ScenesConfig = ScenesConfig()
    """Source `scenes`."""
    folder: FolderConfig = FolderConfig()
    """Source `folder`."""
    jsonl: JsonLinesConfig = JsonLinesConfig()
    """Source `jsonl`."""
    duplicates: DuplicatesConfig = DuplicatesConfig()
    """When two Documents count as one."""
