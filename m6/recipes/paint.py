"""Painting at 128 pixels: `quickstart` on a canvas twice as wide, for two cores and two hours.

Scenes are read from patches of 16 pixels and painted in 16 x 16 codes. The image tokenizer sees drawings of several
designers beside the scenes, and learns to please a discriminator and features of its own, not pixels alone.
"""

from m6.corpus.config import CorpusConfig, EmojiConfig, ScenesConfig, SceneShares
from m6.data.config import DataConfig, Entry
from m6.model.config import ModelConfig
from m6.recipes import quickstart, starter
from m6.recipes.recipe import Recipe
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import EvaluateStage, LoopConfig, OptimizerConfig, PretrainStage, VQGANStage
from m6.vqgan.config import FeaturesConfig, LossConfig, VQGANConfig

DRAWINGS = ("pictures_openmoji", "pictures_twemoji", "pictures_fluent", "pictures_noto_v1")
SHARES = SceneShares(pair=0.3, count=0.15, colour=0.1, colour_pair=0.3, triple=0.15)
SEEING = {"captioning": 2.0, "visual_question_answering": 4.0}
"""Objectives that share one picture, with the weight of their loss."""


def recipe(look_steps: int = 500, paint_steps: int = 2_800) -> Recipe:
    """The whole run. In the first `look_steps` scenes are only read, as in `quickstart`."""
    num_steps = look_steps + paint_steps
    looked = look_steps / num_steps
    rates = ((0.0, 0.0), (0.02, 0.3), (looked, 0.3), (looked + 0.05, 1.0), (0.6, 1.0), (1.0, 0.02))

    def later(source: str, samples: float, objectives: dict[str, float]) -> Entry:
        categories = quickstart.THINGS if source == "emoji" else ()
        return Entry(
            source=source, samples=samples, objectives=objectives, categories=categories, first_step=look_steps
        )

    return Recipe(
        corpus=CorpusConfig(
            sources={
                "emoji": EmojiConfig(categories=quickstart.OBJECTS),
                "scenes": ScenesConfig(
                    train=16_000, heldout=1_200, size=128, sides=(48, 56), jitter=8, raster=16, dyed=30, shares=SHARES
                ),
                **{name: starter.SOURCES[name] for name in DRAWINGS},
            },
            image_size=128,
        ),
        tokenizer=TokenizerConfig(vocab_size=2_600, max_piece=1),
        vqgan=VQGANStage(
            model=VQGANConfig(channels=(32, 64, 128)),
            losses=LossConfig(perceptual=0.5, discriminator=0.2, discriminator_start=700),
            features=FeaturesConfig(source="own"),
            average=0.99,
            grid_every=100,
            batch_size=16,
            loop=LoopConfig(
                num_steps=1_000,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=3e-3, muon_learning_rate=0.0, schedule=quickstart.FALL),
            ),
        ),
        model=ModelConfig(
            num_layers=4, hidden_size=192, num_heads=4, ffn_size=768, stem="convolutional", patch_size=16
        ),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=(
                    Entry(source="scenes", samples=10, objectives=SEEING),
                    later("scenes", 16, {"text_to_image": 1.0}),
                    later("scenes", 0.5, {"language_modelling": 1.0}),
                    later("scenes", 1, {"matching": 0.5}),
                    later("emoji", 2, {**SEEING, "matching": 0.5}),
                    later("emoji", 6, {"text_to_image": 1.0}),
                    later("emoji", 0.5, {"language_modelling": 1.0}),
                ),
                image_input="pixels",
                row_length=384,
                max_questions=6,
            ),
            loop=LoopConfig(
                num_steps=num_steps,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=4e-3, muon_learning_rate=4.5e-3, schedule=rates),
            ),
        ),
        evaluate=EvaluateStage(guidance=1.5, candidates=4),
    )
