"""Questions: a picture and a question in, the answer held against the true one."""

from __future__ import annotations

from m6.tasks import visual_question_answering
from m6.train.evaluate.material import SHOWN, Evaluation, Example, Examples, Scores, origin, pixels_of, with_interval

# Key of the scores, one for each kind of question and one for all; source, split, attributes.
GROUPS: list[tuple[str, str, str, dict[str, str]]] = [
    ("vqa.{}_seen", "emoji", "train", {}),
    ("vqa.{}_heldout", "emoji", "heldout", {}),
    ("scene.vqa_{}_heldout", "scenes", "heldout", {"unseen": "pair"}),
]


def questions(about: Evaluation) -> tuple[Scores, Examples]:
    """Questions from metadata; baseline: the most frequent answer to the same question in training."""
    scores: Scores = {}
    shown: list[Example] = []
    for pattern, source, split, attributes in GROUPS:
        asked = visual_question_answering.read(about.some(source, split, **attributes), source, split)
        if not asked:
            continue
        training = [q for _, q in visual_question_answering.read(about.documents, source, "train")]
        usual = visual_question_answering.most_frequent(training)
        pixels = pixels_of([document for document, _ in asked])
        prefixes = [
            visual_question_answering.sample(about.engine.picture(p), about.engine.text(q["question"]))
            for p, (_, q) in zip(pixels, asked, strict=True)
        ]
        answers = [visual_question_answering.decode(text) for text in about.engine.write_texts(prefixes, 24)]
        only = [q for _, q in asked]
        guesses = [usual.get(q["question"], usual.get(q["kind"], "")) for q in only]
        ours, theirs = (visual_question_answering.score(said, only) for said in (answers, guesses))
        right = [answer == q["answer"] for answer, q in zip(answers, only, strict=True)]
        for kind, value in ours.items():
            scores |= {pattern.format(kind): value, pattern.format(kind) + ".baseline": theirs[kind]}
        scores |= with_interval(pattern.format("accuracy"), right, theirs["accuracy"])
        for index in range(0, len(asked), max(1, len(asked) // SHOWN)):
            document, question = asked[index]
            shown.append(
                {
                    "picture": about.keep_picture(f"question-{source}-{split}-{index}", pixels[index]),
                    "question": question["question"],
                    "written": answers[index],
                    "true": question["answer"],
                    "kind": question["kind"],
                    **origin(document),
                    "right": right[index],
                }
            )
    return scores, {"questions": shown}
