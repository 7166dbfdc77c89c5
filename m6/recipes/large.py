"""Large pictures: drawings of 1024 x 1024 pixels painted from words, coarse to fine, in 64 x 64 codes of 16 pixels.

The sources are vectors, so that every detail is true at this size. The image tokenizer sees squares cut out of them.
The transformer paints a picture of 256 pixels from the words, and over it the large one, each of whose codes sees a
window of those about it; so training and painting cost as much as there are codes, and no more.
"""

from m6.corpus.config import CorpusConfig
from m6.data.config import DataConfig, Entry
from m6.model.config import CodeAttentionConfig, ModelConfig
from m6.recipes import quickstart, starter
from m6.recipes.recipe import Recipe
from m6.tokenizer.config import TokenizerConfig
from m6.train.config import EvaluateStage, LoopConfig, OptimizerConfig, PretrainStage, VQGANStage
from m6.vqgan.config import FeaturesConfig, LossConfig, VQGANConfig

SIDE = 1024
SETS = ("pictures_twemoji",)
RISE_AND_FALL = ((0.0, 0.0), (0.05, 1.0), (0.6, 1.0), (1.0, 0.02))
"""Rates of the image tokenizer. Squares cut out of large drawings are of few colours: learnt at the rate of whole
pictures, 3e-3, from the first update on, codes told light from dark and nothing else."""


def recipe(num_steps: int = 800) -> Recipe:
    """The whole run."""
    drawn = {"drawn": SIDE + 64, "categories": quickstart.THINGS}
    return Recipe(
        corpus=CorpusConfig(
            sources={name: starter.SOURCES[name].override(drawn) for name in SETS},
            image_size=SIDE,
        ),
        tokenizer=TokenizerConfig(vocab_size=1_200, max_piece=1),
        vqgan=VQGANStage(
            model=VQGANConfig(channels=(16, 32, 64, 128)),
            losses=LossConfig(perceptual=0.3, discriminator=0.1, discriminator_start=1_000, discriminator_channels=32),
            features=FeaturesConfig(source="own"),
            average=0.99,
            batch_size=32,
            crop=96,
            grid_every=200,
            grid_pictures=4,
            loop=LoopConfig(
                num_steps=1_200,
                checkpoint_every=100,
                optimizer=OptimizerConfig(learning_rate=1e-3, muon_learning_rate=0.0, schedule=RISE_AND_FALL),
            ),
        ),
        model=ModelConfig(
            num_layers=4,
            hidden_size=192,
            num_heads=4,
            ffn_size=768,
            max_side=SIDE // 16,
            coarse_codes=True,
            code_attention=CodeAttentionConfig(pattern="window", rows=6, columns=6),
        ),
        pretrain=PretrainStage(
            data=DataConfig(
                mixture=tuple(
                    Entry(source=name, samples=samples, objectives={objective: 1.0})
                    for name in SETS
                    for objective, samples in (("text_to_coarse", 10), ("coarse_to_fine", 2))
                ),
                image_input="codes",
                row_length=4_608,
                tell_size=True,
                blank_codes=1.0,
                title_prompt=0.5,
            ),
            loop=LoopConfig(
                num_steps=num_steps,
                checkpoint_every=100,
                optimizer=OptimizerConfig(
                    learning_rate=4e-3,
                    muon_learning_rate=4.5e-3,
                    schedule=((0.0, 0.0), (0.02, 1.0), (0.6, 1.0), (1.0, 0.02)),
                ),
            ),
        ),
        evaluate=EvaluateStage(num_samples=4),
    )
