"""A trained run as a service: what people ask, in words and pictures, as jobs of the scheduler.

    caption, answer, poem, painting -> prefix as it was learnt -> Job;   picture and texts -> scores

Which of these a run can do is told by the objectives that it was trained on.
"""

from __future__ import annotations

import base64
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from m6.config import UserError
from m6.corpus.images.prepare import FORMATS
from m6.data.objectives import poem_prompt, question_prompt, visual_question_prompt
from m6.data.packing import Run
from m6.data.poem_forms import line_length
from m6.data.sample import HIDDEN
from m6.generate.answers import MAX_ANSWER, MAX_CAPTION, MAX_POEM, MAX_TEXT
from m6.generate.decoding import Decoding
from m6.generate.engine import Engine, key_of
from m6.generate.learnt import check_learnt, learnt_by
from m6.generate.paintings import scores
from m6.generate.poems import PoemGrammar
from m6.generate.prefill import Prefix
from m6.generate.rank import fits
from m6.generate.sampling import Sampling, generators_of
from m6.generate.segments import RunSegments
from m6.generate.text_to_image import Grid, prefixes, unfinished
from m6.serve.asked import Pictures
from m6.serve.config import ServeConfig
from m6.serve.jobs import Event, PaintJob, TextJob, TimedOutError
from m6.serve.metrics import Metrics
from m6.serve.scheduler import Scheduler
from m6.serve.slots import Slots
from m6.serve.threads import Threads

Tell = Callable[[Event], None]
LENGTHS = {"caption": MAX_CAPTION, "visual_question": MAX_ANSWER, "question": MAX_TEXT, "poem": MAX_POEM}
"""Tasks of texts, and the most tokens of each."""
SECTIONS = {
    "look": {"captioning", "visual_question_answering"},
    "write": {"poem", "poems"},
    "paint": {"text_to_image"},
    "match": {"captioning"},
}
"""What a run can do, by the objectives of which it needs one."""
POEM = Sampling(temperature=0.8, top_p=0.9)
"""How a poem is drawn, as by `m6 generate poem`."""
UPDATES = 16  # pictures of a painting that are shown, the whole one too
MOST_TEXTS = 256  # that are compared at once
TEXTS_TOGETHER = 64  # between two looks at the clock
READERS = 4  # threads that read pictures


class Service:
    """A run that is loaded, with its scheduler."""

    def __init__(self, folder: Path, config: ServeConfig) -> None:
        """UserError for what is no run, or is not trained."""
        self.config, self.name = config, folder.resolve().name
        self.engine = Engine.load(folder, int8=config.int8)
        self.segments = RunSegments(self.engine, folder)
        self.learnt = learnt_by(folder)
        self.able = {section: bool(self.learnt & wanted) for section, wanted in SECTIONS.items()}
        self.pictures = Pictures(config)
        self.made = int((folder / "config.json").stat().st_mtime)
        self.closing = float("inf")
        """Time of `time.monotonic` after which what is still coming in is given up; set when the server ends."""
        capacity = self._capacity()
        self._check_memory(capacity)
        slots = Slots(self.engine, config.slots, capacity, config.kept_pictures)
        self.metrics = Metrics()
        self.scheduler = Scheduler(self.engine, slots, config.text_slots, config.max_queue, self.metrics)
        self.scoring = Threads("match", 1, config.max_queue, self.metrics)
        self.reading = Threads("picture", READERS, config.max_queue + config.slots, self.metrics)
        self.metrics.watch("waiting", "Requests that wait", lambda: self.scheduler.waiting + self.scoring.waiting)
        self.metrics.watch("working", "Answers and paintings that are worked on", lambda: self.scheduler.working)
        self.metrics.watch("slots_used", "Rows of the cache in use", lambda: sum(slots.used))
        self.metrics.watch("slots", "Rows of the cache", lambda: slots.count)
        self.metrics.watch("cache_bytes", "Memory of all keys and values", lambda: slots.bytes)
        self._grammars: dict[str, PoemGrammar] = {}

    def _capacity(self) -> int:
        """Tokens of the longest request that the run has learnt, and of its longest answer."""
        grid = self.engine.model.config.patch_grid
        side = self.engine.picture_size
        rows, columns = (side // grid, side // grid) if isinstance(grid, int) else grid(side, side)
        codes = 0
        if self.able["paint"]:
            try:
                codes = math.prod(Grid.of(f"{max(side, self.config.max_size)}", self.engine))
            except UserError as error:
                raise UserError(f"--max_size: {error}") from None
        return rows * columns + self.engine.data.max_text + max(codes, *LENGTHS.values()) + 1

    def _check_memory(self, capacity: int) -> None:
        """UserError for more slots than the machine has memory for."""
        weight = self.engine.model.embedding.weight
        each = 2 * len(self.engine.model.blocks) * capacity * weight.shape[1] * weight.element_size()
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if self.engine.device.type == "cuda":
            there, _ = torch.cuda.mem_get_info(self.engine.device)
        if each * self.config.slots > there:
            raise UserError(
                f"--slots {self.config.slots}: their keys and values take {each * self.config.slots / 2**30:,.1f} GiB, "
                f"the machine has {there / 2**30:,.1f}; take fewer than {there // each}"
            )

    def close(self) -> None:
        """Ends what has been asked, and takes nothing more."""
        self.scheduler.close()
        self.scoring.close()
        self.reading.close()

    def prefix(self, task: str, text: str, image: bytes | None, form: str) -> Prefix:
        """A request as it was learnt. UserError if it was not, for a picture that cannot be read, for a long text."""
        check_learnt(task, self.learnt)
        self._check_length(text)
        if task == "poem":
            return (self.segments.text(poem_prompt(text, form)),)
        if image is None:
            return (self.segments.text(question_prompt(text)),)
        picture = self.engine.picture(self.picture(image))
        return (picture, self.segments.text(visual_question_prompt(text))) if text else (picture,)

    def picture(self, encoded: bytes) -> np.ndarray:
        """Bytes of a picture file as the model sees it, upright. UserError for what is none, or too large."""
        many = f"at most {self.config.max_pixels} are read; make it smaller"
        try:
            with Image.open(io.BytesIO(encoded), formats=FORMATS) as opened:
                width, height = opened.size
                if width * height > self.config.max_pixels:
                    raise UserError(f"the picture has {width} x {height} pixels, {many}")
            return self.segments.pixels(encoded, FORMATS)
        except UserError:
            raise
        except Image.DecompressionBombError:
            raise UserError(f"the picture has too many pixels, {many}") from None
        except Exception:  # decoders of many formats raise many things
            raise UserError("the picture cannot be read; send PNG, JPEG, WebP, GIF or BMP") from None

    def write(
        self, tell: Tell, ends: float, task: str, prefix: Prefix, decoding: Decoding, most: int, form: str, copy: int,
        watched: bool,
    ) -> TextJob:  # fmt: skip
        """Begins a text that has to be done at `ends`, a time of `time.monotonic`; `copy` numbers several answers to
        one request."""
        draw = generators_of(decoding.seed, [key_of(prefix)] * (copy + 1))[copy] if decoding.temperature else None
        grammar = self.grammar(form) if task == "poem" and line_length(form) else None
        job = TextJob(
            tell, ends, prefix=prefix, most=min(most, LENGTHS[task]), decoding=decoding, draw=draw,
            grammar=grammar, watched=watched,
        )  # fmt: skip
        self.scheduler.submit(job)
        return job

    def paint(
        self, tell: Tell, ends: float, prompt: str, n: int, size: str, sampling: Sampling, guidance: float,
        shown: int, best: int = 0,
    ) -> PaintJob:  # fmt: skip
        """Begins pictures of a prompt that have to be done at `ends`. shown: how often each is told before it is whole;
        `best`: some of them will be chosen by their scores."""
        if not self.able["paint"]:
            raise UserError("this model has not learnt to paint")
        if best and not self.able["match"]:
            raise UserError("best: this model has not learnt to describe pictures, so it cannot choose; leave it out")
        if not prompt.strip():
            raise UserError("prompt: it is empty; say what is to be painted")
        self._check_length(prompt)
        most = self.scheduler.most_paintings
        if guidance != 1.0 and most < 2:
            raise UserError(
                f"guidance {guidance:g}: a guided picture takes 2 slots, this server has {most} for paintings; "
                "take guidance 1, or start it with more --slots"
            )
        usual = Grid.of(f"{self.engine.picture_size}", self.engine)
        try:
            grid = Grid.of(size, self.engine) if size else usual
        except UserError as error:
            read = max(map(self.length, prefixes(self.engine, [prompt], usual)[0]))
            raise UserError(f"{error}; this server has room for {self._largest(read)}") from None
        asked, blank = prefixes(self.engine, [prompt] * n, grid)
        read = max(map(self.length, asked))
        if read + math.prod(grid) > self.scheduler.slots.capacity:
            raise UserError(
                f"size {size}: this server has room for {self._largest(read)}; take that, or start it with "
                f"--max_size {max(grid) * self._code_side}"
            )
        every = math.ceil(grid.height * grid.width / (shown + 1)) if shown else 0
        job = PaintJob(
            tell, ends, asked=asked, blank=blank if guidance != 1.0 else (), grid=grid, sampling=sampling,
            guidance=guidance, first_code=self.engine.vocabulary.text_size, tell_every=every,
        )  # fmt: skip
        self.scheduler.submit(job)
        return job

    def grammar(self, form: str) -> PoemGrammar:
        """That of a form; what it has worked out serves the next poem too."""
        if form not in self._grammars:
            self._grammars[form] = PoemGrammar(self.engine.tokenizer, self.engine.vocabulary.size, form)
        return self._grammars[form]

    def length(self, prefix: Prefix) -> int:
        """Tokens of what is read, pictures included."""
        run, order = Run(self.engine.vocabulary, self.engine.model.config.patch_grid), 0
        for segment in prefix:
            order = run.add_prefix(segment, order, 0)
        return run.length

    def steady(self, ids: list[int]) -> list[int]:
        """Those at whose text nothing changes, whatever follows: all but the bytes at the end, which may be a part of a
        character."""
        end = len(ids)
        while end and not self.engine.tokenizer.piece(ids[end - 1]):
            end -= 1
        return ids[:end]

    def match(self, image: bytes, texts: Sequence[str], ends: float = float("inf")) -> list[float]:
        """How well each text fits a picture, log p(text | picture) - log p(text), nats. UserError; TimedOutError if it
        is not done at `ends`."""
        if not self.able["match"]:
            raise UserError("this model has not learnt to describe pictures")
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise UserError(f"{len(texts)} texts, from 1 to {MOST_TEXTS} are compared")
        for text in texts:
            self._check_length(text)
        picture = self.engine.picture(self.picture(image))
        segments = [self.segments.text(text) for text in texts]
        found: list[float] = []
        for start in range(0, len(segments), TEXTS_TOGETHER):
            if time.monotonic() > ends:  # nobody waits for it any more, but others do
                raise TimedOutError
            found += fits(self.engine, [(picture,)], segments[start : start + TEXTS_TOGETHER])[0].tolist()
        return found

    def pixels(self, codes: np.ndarray) -> np.ndarray:
        """Grids of codes [n, h, w] as pixels [n, S, S', 3]; where some are not painted yet, a fourth channel hides
        them."""
        with torch.inference_mode():
            pixels = unfinished(self.engine, codes)
        shown = codes != HIDDEN
        if shown.all():
            return pixels
        side = pixels.shape[1] // codes.shape[1]
        return np.concatenate([pixels, 255 * np.kron(shown, np.ones((1, side, side), np.uint8))[..., None]], -1)

    def scores(self, pixels: Sequence[np.ndarray], prompt: str) -> list[float]:
        """How well pictures fit a prompt, nats a token."""
        return [float(score) for score in scores(self.engine, np.stack(pixels), prompt)]

    @property
    def _code_side(self) -> int:
        """Pixels on a side of a code."""
        assert self.engine.vqgan is not None
        return self.engine.vqgan.config.downsample

    def _largest(self, read: int) -> str:
        """The largest square that is painted to a prompt of so many tokens, pixels."""
        codes = math.isqrt(self.scheduler.slots.capacity - read)
        side = min(codes, self.engine.model.config.max_side) * self._code_side
        return f"{side}x{side}"

    def _check_length(self, text: str) -> None:
        if len(text) > self.config.max_prompt:
            raise UserError(
                f"the text has {len(text)} characters, at most {self.config.max_prompt} are read; shorten it"
            )


def png(pixels: np.ndarray) -> str:
    """A picture as a PNG file in base64."""
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()
