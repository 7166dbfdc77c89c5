"""The report of a run: one page that shows what was made, from the corpus to the paintings.

In goes a run folder, out comes its `report.html`: a single file with its pictures, plots and style inside, which opens
from disk without a server or a network. It is bilingual, and it judges nothing: scores stand beside their baselines,
paintings beside what was asked for. What a run does not have leaves a short note.

    material.py   what the page is made of, read from the run folder
    elements.py   HTML elements that escape what they are given
    plots.py      line charts as SVG
    overview.py, examples.py, scores.py   the sections, in the order of the page
    page.py       the page around them; style.css is its looks
"""

from m6.run import Run, write_atomic
from m6.train.report.material import Material
from m6.train.report.page import page
from m6.train.results import write_results

__all__ = ["write"]


def write(run: Run) -> None:
    """Write the scores of a run to `results.json`, and `report.html` beside it; an older page is replaced at once."""
    write_results(run)
    write_atomic(run.folder / "report.html", page(Material.read(run.folder)))
