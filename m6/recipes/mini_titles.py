"""What follows `mini`: the same model learns prompts as people type them, "猫" and not "猫。宠物、小猫".

    m6 quickstart mini_titles --from runs/mini --out runs/mini-titles

Most paintings are of single things, most of these from their title alone; a little of all else keeps what was learnt.
`mini_more` goes on from it.
"""

from m6.data.config import Entry
from m6.recipes import mini, quickstart, tasks
from m6.recipes.recipe import Recipe

KEPT = 0.5
"""Documents of a step that are no paintings, as a share of those of `mini`."""


def recipe(num_steps: int = 2_500) -> Recipe:
    """The whole run; with --from it takes a fifth of the updates."""
    mixture = (
        Entry(source="scenes", samples=4, objectives=tasks.LOOKING),
        Entry(source="scenes", samples=8, objectives={"text_to_image": 1.0}),
        Entry(source="scenes", samples=KEPT, objectives={"matching": 0.5}),
        Entry(source="scenes", samples=KEPT, objectives={"language_modelling": 0.5}),
        Entry(source="emoji", samples=24, objectives={"text_to_image": 1.0}, categories=quickstart.THINGS),
        *tasks.pictures({name: KEPT * count for name, count in mini.PICTURES.items()}, first_step=0),
        Entry(source="poems", samples=2, objectives={"poem": 0.5}),
        Entry(source="poems_more", samples=1, objectives={"language_modelling": 0.3}),
        Entry(source="qa_idioms", samples=2, objectives={"question_answering": 0.5}),
        Entry(source="qa_xiehouyu", samples=1, objectives={"question_answering": 0.5}),
    )
    return mini.recipe().override(
        {
            "pretrain.data.mixture": mixture,
            "pretrain.data.title_prompt": 0.7,
            "pretrain.loop.num_steps": num_steps,
        }
    )
