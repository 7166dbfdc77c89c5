"""The tasks in small: `tiny` pretrained on pictures and text of the starter corpus, for two cores and an hour.

    for stage in corpus tokenizer vqgan pretrain; do m6 $stage tasks; done
    m6 tasks runs/tasks --out runs/tasks-data

The run is the one that tasks are finetuned from in the guides. It reads and does not paint: a painting costs several
times the tokens of an answer.
"""

from collections.abc import Mapping

from m6.corpus.config import CorpusConfig, ScenesConfig
from m6.data.config import DataConfig, Entry
from m6.model.sizes import SIZES
from m6.recipes import starter
from m6.recipes.recipe import Recipe
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import LoopConfig, OptimizerConfig, PretrainStage, VQGANStage
from m6.vqgan.config import VQGANConfig

LOOKING = {"captioning": 2.0, "visual_question_answering": 4.0}
"""Objectives that share one scene, with the weight of their loss."""
NAMING = {"captioning": 2.0, "matching": 0.5}
"""Objectives that share one picture of a thing, often."""
ASKING = {"visual_question_answering": 1.0}
"""Objectives of such a picture, now and then."""
JITTER = 0.1  # of those pictures; a scene that is shifted has things between two patches
PICTURES = {
    "emoji": 4, "pictures_openmoji": 4, "pictures_twemoji": 4, "pictures_fluent": 3, "pictures_noto_v1": 3,
    "pictures_emojione": 2, "pictures_emojione_v1": 2, "pictures_fxemoji": 1, "shop_iconpark": 2, "shop_tuxpaint": 1,
}  # fmt: skip
"""Pictures of a step, about as many as the source has."""
TEXTS = ("poems", "qa_idioms", "qa_xiehouyu", "shop_descriptions")


def pictures(counts: Mapping[str, float], first_step: int) -> tuple[Entry, ...]:
    """Lines of a mixture, by source: pictures of things that are named often, asked about now and then, and whose names
    are also read alone. `counts`: pictures of a step."""

    def lines(share: float, objectives: dict[str, float], jitter: float = 0.0) -> tuple[Entry, ...]:
        return tuple(
            Entry(source=name, samples=count * share, objectives=objectives, jitter=jitter, first_step=first_step)
            for name, count in counts.items()
        )

    return (
        *lines(1, NAMING, JITTER),
        *lines(1 / 4, ASKING, JITTER),
        # how likely a name is without its picture, which matching and retrieval divide by
        *lines(1 / 8, {"language_modelling": 0.5}),
    )


def recipe(look_steps: int = 600, num_steps: int = 2_600) -> Recipe:
    """The corpus out of the sources that tasks are made of, and the training.

    In the first `look_steps` scenes are only read, at a low rate, as in the quickstart: to find a named thing in a
    picture is learnt late or, at a high rate and beside all else, not at all.
    """
    looked = look_steps / num_steps
    rates = ((0.0, 0.0), (0.02, 0.3), (looked, 0.3), (looked + 0.05, 1.0), (0.6, 1.0), (1.0, 0.02))

    def later(source: str, samples: float, objectives: dict[str, float]) -> Entry:
        return Entry(source=source, samples=samples, objectives=objectives, first_step=look_steps)

    return Recipe(
        corpus=CorpusConfig(
            sources={
                **{name: starter.SOURCES[name] for name in (*PICTURES, *TEXTS)},
                "scenes": ScenesConfig(train=10_000, heldout=900),
            },
            image_size=64,
        ),
        tokenizer=TokenizerConfig(vocab_size=6_000, max_piece=1),
        vqgan=VQGANStage(
            model=VQGANConfig(channels=(32, 64, 128)),
            batch_size=32,
            loop=LoopConfig(
                num_steps=300,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=3e-3, muon_learning_rate=0.0),
            ),
        ),
        model=SIZES["tiny"].model.model_copy(update={"stem": "convolutional", "patch_size": 16}),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=(
                    Entry(source="scenes", samples=10, objectives=LOOKING),
                    *pictures(PICTURES, look_steps),
                    later("scenes", 1, {"language_modelling": 0.5}),
                    later("poems", 4, {"poem": 1.0}),
                    later("qa_idioms", 5, {"question_answering": 1.0}),
                    later("qa_xiehouyu", 3, {"question_answering": 1.0}),
                    later("shop_descriptions", 1, {"product_description": 1.0}),
                ),
                image_input="pixels",
                row_length=384,
                max_questions=6,
                max_text=768,
            ),
            loop=LoopConfig(
                num_steps=num_steps,
                checkpoint_every=200,
                heldout_every=200,
                heldout_batches=12,
                optimizer=OptimizerConfig(
                    learning_rate=3e-3,
                    muon_learning_rate=7e-3,
                    schedule=rates,
                ),
            ),
        ),
    )
