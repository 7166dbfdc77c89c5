"""m6-mini-zh: a small model to hand on, for two cores and some hours, by estimate.

    m6 quickstart mini

It reads pictures, answers, writes poems and paints, at 64 pixels. It learns from sources of the starter corpus whose
licences ask for no more than to be named, none that asks for its own terms on what is made of it; and from 40,000
scenes made of bundled pictures, so that it learns what pictures are made of instead of keeping them. `mini_titles` goes
on from it, and `mini_more` from that.
"""

from m6.corpus.config import CorpusConfig, ScenesConfig, SceneShares
from m6.data.config import DataConfig, Entry
from m6.model.config import ModelConfig
from m6.recipes import quickstart, starter, tasks
from m6.recipes.recipe import Recipe
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import EvaluateStage, LoopConfig, OptimizerConfig, PretrainStage, VQGANStage
from m6.vqgan.config import FeaturesConfig, LossConfig, VQGANConfig

PICTURES = {
    "emoji": 4, "pictures_twemoji": 3, "pictures_fluent": 3, "pictures_noto_v1": 2, "pictures_emojione": 2,
    "pictures_fxemoji": 1, "shop_iconpark": 2,
}  # fmt: skip
"""Pictures of a step, about as many as the source has: Apache-2.0, MIT and CC BY 4.0."""
TEXTS = ("poems", "poems_more", "qa_idioms", "qa_xiehouyu")
"""Public domain, MIT and Apache-2.0."""
SHARES = SceneShares(pair=0.35, count=0.2, colour=0.15, colour_pair=0.3)


def recipe(look_steps: int = 600, num_steps: int = 4_400) -> Recipe:
    """The whole run. In the first `look_steps` scenes are only read, as in `quickstart`."""
    looked = look_steps / num_steps
    rates = ((0.0, 0.0), (0.01, 0.3), (looked, 0.3), (looked + 0.03, 1.0), (0.5, 1.0), (1.0, 0.02))

    def later(source: str, samples: float, objectives: dict[str, float]) -> Entry:
        things = quickstart.THINGS if source == "emoji" else ()
        return Entry(source=source, samples=samples, objectives=objectives, categories=things, first_step=look_steps)

    return Recipe(
        corpus=CorpusConfig(
            sources={
                **{name: starter.SOURCES[name] for name in (*PICTURES, *TEXTS)},
                "scenes": ScenesConfig(train=40_000, heldout=900, shares=SHARES),
            },
            image_size=64,
        ),
        tokenizer=TokenizerConfig(vocab_size=4_500, max_piece=1),
        vqgan=VQGANStage(
            model=VQGANConfig(channels=(32, 64, 128)),
            losses=LossConfig(perceptual=0.3, discriminator=0.1, discriminator_start=2_000, discriminator_channels=32),
            features=FeaturesConfig(source="own"),
            average=0.99,
            batch_size=32,
            loop=LoopConfig(
                num_steps=2_400,
                checkpoint_every=200,
                optimizer=OptimizerConfig(learning_rate=3e-3, muon_learning_rate=0.0, schedule=quickstart.FALL),
            ),
        ),
        model=ModelConfig(
            num_layers=5, hidden_size=224, num_heads=4, ffn_size=896, stem="convolutional", patch_size=16
        ),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=(
                    Entry(source="scenes", samples=10, objectives=tasks.LOOKING),
                    later("scenes", 16, {"text_to_image": 1.0}),
                    later("scenes", 1, {"matching": 0.5}),
                    later("scenes", 1, {"language_modelling": 0.5}),
                    later("emoji", 8, {"text_to_image": 1.0}),
                    *tasks.pictures(PICTURES, look_steps),
                    later("poems", 5, {"poem": 0.5}),
                    later("poems_more", 2, {"language_modelling": 0.3}),
                    later("qa_idioms", 4, {"question_answering": 0.5}),
                    later("qa_xiehouyu", 2, {"question_answering": 0.5}),
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
                optimizer=OptimizerConfig(learning_rate=3e-3, muon_learning_rate=6e-3, schedule=rates),
            ),
        ),
        evaluate=EvaluateStage(candidates=4),
    )
