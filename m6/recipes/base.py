"""M6-base, 327M parameters, on the starter corpus: what a recipe of one's own for a large model begins from.

    torchrun --nproc-per-node 8 -m m6.cli pretrain base

The size is the paper's (section 4); rates, steps and mixture are ours, and nobody has trained with them at this size.
The starter corpus stands in for the 300 GB of text and 1.9 TB of pictures that the paper has.
"""

from m6.model.sizes import SIZES
from m6.recipes import starter
from m6.recipes.recipe import Recipe

DOCUMENTS = 32
"""Times what a step of the starter recipe has: some 900 documents, by hundreds of ranks divided still a few each."""


def recipe(size: str = "base") -> Recipe:
    """The starter recipe with a model of this size, its vocabulary, and pictures of 256 pixels."""
    small = starter.recipe()
    mixture = tuple(
        entry.model_copy(update={"samples": entry.samples * DOCUMENTS}) for entry in small.pretrain.data.mixture
    )
    return small.override(
        {
            "corpus.image_size": 256,
            "tokenizer.vocab_size": SIZES[size].vocab_size,
            "vqgan.model.channels": (64, 128, 128, 256),
            "model": SIZES[size].model,
            "pretrain.data.mixture": mixture,
            "pretrain.data.row_length": 1024,
            "pretrain.data.max_text": 512,
            "pretrain.loop": {
                "num_steps": 100_000,
                "checkpoint_every": 500,
                "log_every": 10,
                "num_workers": 4,
                "optimizer": {"learning_rate": 6e-4, "muon_learning_rate": 5e-3, "weight_decay": 0.1},
            },
        }
    )
