"""The quickstart: everything in small on the bundled sample, for two cores and about a quarter of an hour."""

from m6.corpus.config import CorpusConfig, EmojiConfig, PoemsConfig, ScenesConfig
from m6.data.config import DataConfig, Entry
from m6.model.config import ModelConfig
from m6.recipes.recipe import Recipe
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import EvaluateStage, LoopConfig, OptimizerConfig, PretrainStage, VQGANStage
from m6.vqgan.config import VQGANConfig

SEEING = {"captioning": 2.0, "visual_question_answering": 4.0}
"""Objectives that share one picture, with the weight of their loss."""
UNDERSTANDING = {**SEEING, "matching": 0.5, "image_denoising": 0.5}
FALL = ((0.0, 0.0), (0.02, 1.0), (0.4, 1.0), (1.0, 0.02))
THINGS = ("动物", "水果", "蔬菜", "植物", "食物", "交通")
"""Categories of single pictures that the model is trained on: about three hundred, which it can learn by heart."""
OBJECTS = (*THINGS, "饮料", "乐器", "物品", "活动", "衣物", "天气", "地点")
"""Categories in the corpus, which the image tokenizer sees: pictures of things, not of signs, faces and flags."""


def recipe(look_steps: int = 600, paint_steps: int = 1_200) -> Recipe:
    """The whole run.

    In the first `look_steps` scenes are only read, at a low rate: to find a named thing in a picture is learnt late
    or, beside painting and at a high rate, not at all; once learnt it stays. Then everything else joins.
    """
    num_steps = look_steps + paint_steps
    looked = look_steps / num_steps
    rates = ((0.0, 0.0), (0.02, 0.3), (looked, 0.3), (looked + 0.05, 1.0), (0.6, 1.0), (1.0, 0.02))

    def later(source: str, samples: float, objectives: dict[str, float], categories: tuple[str, ...] = ()) -> Entry:
        return Entry(
            source=source, samples=samples, objectives=objectives, categories=categories, first_step=look_steps
        )

    return Recipe(
        corpus=CorpusConfig(
            sources={
                "emoji": EmojiConfig(categories=OBJECTS),
                "poems": PoemsConfig(),
                "scenes": ScenesConfig(train=12_000, heldout=900),
            }
        ),
        tokenizer=TokenizerConfig(vocab_size=2_600, max_piece=1),
        vqgan=VQGANStage(
            model=VQGANConfig(channels=(32, 64, 128)),
            batch_size=32,
            loop=LoopConfig(
                num_steps=900,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=3e-3, muon_learning_rate=0.0, schedule=FALL),
            ),
        ),
        model=ModelConfig(num_layers=4, hidden_size=192, num_heads=4, ffn_size=768, stem="backbone"),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=(
                    Entry(source="scenes", samples=8, objectives=SEEING),
                    Entry(source="scenes", samples=2, objectives=UNDERSTANDING),
                    later("scenes", 16, {"text_to_image": 1.0}),
                    later("scenes", 0.5, {"language_modelling": 1.0}),
                    later("emoji", 2, UNDERSTANDING, THINGS),
                    later("emoji", 6, {"text_to_image": 1.0}, THINGS),
                    later("emoji", 0.5, {"language_modelling": 1.0}, THINGS),
                    later("emoji", 0.25, {"text_denoising": 0.5}, THINGS),
                    later("poems", 1, {"poem": 0.3}),
                    later("poems", 0.25, {"language_modelling": 0.3, "text_denoising": 0.3}),
                ),
                image_input="pixels",
                row_length=256,
                max_questions=6,
                title_prompt=0.5,
            ),
            loop=LoopConfig(
                num_steps=num_steps,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=4e-3, muon_learning_rate=4.5e-3, schedule=rates),
            ),
        ),
        evaluate=EvaluateStage(),
    )
