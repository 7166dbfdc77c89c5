"""The quickstart: everything in small on the bundled sample, for two cores and less than half an hour."""

from m6.corpus.config import CorpusConfig, EmojiConfig, ScenesConfig
from m6.data.config import DataConfig, Entry
from m6.model.config import ModelConfig
from m6.recipes.recipe import Recipe
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import EvaluateStage, LoopConfig, OptimizerConfig, PretrainStage, VQGANStage
from m6.vqgan.config import VQGANConfig

UNDERSTANDING = {"captioning": 2.0, "visual_question_answering": 10.0, "matching": 0.5, "image_denoising": 0.5}
"""Objectives that share one picture, with the weight of their loss: answers are short, so their tokens count more."""
THINGS = ("动物", "水果", "蔬菜", "植物", "食物", "交通")
"""Categories of single pictures that the model is trained on: about three hundred, which it can learn by heart."""
OBJECTS = (*THINGS, "饮料", "乐器", "物品", "活动", "衣物", "天气", "地点")
"""Categories in the corpus, which the image tokenizer sees: pictures of things, not of signs, faces and flags."""


def recipe() -> Recipe:
    """The whole run."""
    return Recipe(
        corpus=CorpusConfig(
            sources=("emoji", "poems", "scenes"),
            emoji=EmojiConfig(categories=OBJECTS),
            scenes=ScenesConfig(train=12_000, heldout=900),
        ),
        tokenizer=TokenizerConfig(vocab_size=2_600, max_piece=1),
        vqgan=VQGANStage(
            model=VQGANConfig(channels=(32, 64, 128), levels=(8, 5, 5, 5)),
            batch_size=32,
            loop=LoopConfig(
                num_steps=760,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=3e-3, muon_learning_rate=0.0, cooldown=0.6),
            ),
        ),
        model=ModelConfig(num_layers=4, hidden_size=192, num_heads=4, ffn_size=768, stem="backbone"),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=(
                    Entry(source="scenes", samples=8, objectives=UNDERSTANDING),
                    Entry(source="scenes", samples=18, objectives={"text_to_image": 1.0}),
                    Entry(source="scenes", samples=0.5, objectives={"language_modelling": 1.0}),
                    Entry(source="emoji", categories=THINGS, samples=2, objectives=UNDERSTANDING),
                    Entry(source="emoji", categories=THINGS, samples=3.5, objectives={"text_to_image": 1.0}),
                    Entry(source="emoji", categories=THINGS, samples=0.5, objectives={"language_modelling": 1.0}),
                    Entry(source="emoji", categories=THINGS, samples=0.25, objectives={"text_denoising": 0.5}),
                    Entry(source="poems", samples=1, objectives={"poem": 0.3}),
                    Entry(source="poems", samples=0.25, objectives={"language_modelling": 0.3, "text_denoising": 0.3}),
                ),
                image_input="pixels",
                row_length=256,
            ),
            loop=LoopConfig(num_steps=1_600, checkpoint_every=100, optimizer=OptimizerConfig()),
        ),
        evaluate=EvaluateStage(),
    )
