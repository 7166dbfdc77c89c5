"""What follows `mini_titles`: more of everything, things by heart, and many more things in any of six hues.

    m6 quickstart mini_more --from runs/mini-titles --out runs/mini-more
    m6 export runs/mini-more --out m6-mini-zh --form packed

Scenes are drawn anew, with 120 things that are dyed instead of 10: a hue that only ten things were seen in is learnt
thing by thing.
"""

from m6.corpus.config import ScenesConfig, SceneShares
from m6.data.config import Entry
from m6.recipes import mini, quickstart, tasks
from m6.recipes.recipe import Recipe

KEPT = 0.5
"""Pictures of a step that are named among all others, as a share of those of `mini`."""
SHARES = SceneShares(pair=0.25, count=0.2, colour=0.3, colour_pair=0.25)


def recipe(num_steps: int = 20_000) -> Recipe:
    """The whole run; with --from it takes a fifth of the updates."""
    things = quickstart.THINGS
    mixture = (
        Entry(source="scenes", samples=6, objectives=tasks.LOOKING),
        Entry(source="scenes", samples=16, objectives={"text_to_image": 1.0}),
        Entry(source="scenes", samples=1, objectives={"matching": 0.5}),
        Entry(source="scenes", samples=0.5, objectives={"language_modelling": 0.5}),
        Entry(source="emoji", samples=4, objectives=tasks.LOOKING, categories=things, jitter=tasks.JITTER),
        Entry(source="emoji", samples=12, objectives={"text_to_image": 1.0}, categories=things),
        *tasks.pictures({name: KEPT * count for name, count in mini.PICTURES.items()}, first_step=0),
        Entry(source="poems", samples=3, objectives={"poem": 0.5}),
        Entry(source="poems_more", samples=1, objectives={"language_modelling": 0.3}),
        Entry(source="qa_idioms", samples=2, objectives={"question_answering": 0.5}),
        Entry(source="qa_xiehouyu", samples=1, objectives={"question_answering": 0.5}),
    )
    return mini.recipe().override(
        {
            "corpus.sources.scenes": ScenesConfig(train=40_000, heldout=900, shares=SHARES, dyed=120),
            "pretrain.data.mixture": mixture,
            "pretrain.data.title_prompt": 0.5,
            "pretrain.loop.num_steps": num_steps,
        }
    )
