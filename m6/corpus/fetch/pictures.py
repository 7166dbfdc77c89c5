"""Fetching: the pictures that Documents name by URL.

In: Documents and Drops in any number. Out: the same items in the same order, each with the reasons why some of its
pictures could not be had, by their index. Requests run ahead of the reader in threads, a few to one host at once; what
fails in passing is tried again later, and meanwhile others go on. All that comes of a URL is kept in a ledger
(`m6/corpus/fetch/ledger.py`), from which a second call of the same part reads instead of fetching.

Memory does not grow with the number of Documents: so many run ahead, and what was fetched waits on the disk.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urljoin

from m6.corpus.config import FetchConfig
from m6.corpus.document import Document, Image
from m6.corpus.drop import Drop
from m6.corpus.fetch.ledger import Ledger, Outcome
from m6.corpus.fetch.web import PUBLIC, Answer, Limits, Reach, get, host_of

FAILED = "not fetched: "
AHEAD = 512  # Documents and pictures that run ahead of the reader
AHEAD_BYTES = 64 * 2**20  # of texts and pictures in those Documents
MOST_REDIRECTS = 5
FIRST_PAUSE = 0.5  # seconds before the second attempt; each further pause is twice as long
LONGEST_PAUSE = 30.0  # a server that asks for more is asked in another call


def fetch_images(
    documents: Iterable[Document | Drop], ledger: Path, config: FetchConfig, most_bytes: int, reach: Reach = PUBLIC
) -> Iterator[tuple[Document | Drop, dict[int, str]]]:
    """Fill in the pictures that have a `url` and no bytes.

    Yields each item with a reason for each picture that is still empty: {1: "not fetched: 404"}. `ledger` is a folder,
    made when there is something to keep. UserError if the ledger is damaged. Documents are not changed in place.
    """
    if not config.enabled:
        for item in documents:
            yield item, dict.fromkeys(_missing(item), FAILED + "fetching is off")
        return
    fetcher = _Fetcher(Ledger(ledger), config, most_bytes, reach)
    waiting: deque[tuple[Document | Drop, dict[int, str], int]] = deque()
    count = held = 0
    try:
        for item in documents:
            urls, size = _missing(item), _size(item)
            for url in urls.values():
                fetcher.ask(url)
            waiting.append((item, urls, size))
            count, held = count + 1 + len(urls), held + size
            while waiting and (count > AHEAD or held > AHEAD_BYTES or fetcher.has(waiting[0][1].values())):
                item, urls, size = waiting.popleft()
                count, held = count - 1 - len(urls), held - size
                yield _filled(item, urls, fetcher)
        for item, urls, _ in waiting:
            yield _filled(item, urls, fetcher)
    finally:
        fetcher.close()


def _missing(item: Document | Drop) -> dict[int, str]:
    """URLs to fetch, by the index of the picture."""
    if isinstance(item, Drop):
        return {}
    images = enumerate(item["images"])
    return {index: url for index, image in images if not image["bytes"] and (url := image.get("url"))}


def _size(item: Document | Drop) -> int:
    if isinstance(item, Drop):
        return 0
    return 4 * len(item["text"]) + sum(len(image["bytes"]) for image in item["images"])


def _filled(item: Document | Drop, urls: dict[int, str], fetcher: _Fetcher) -> tuple[Document | Drop, dict[int, str]]:
    if not urls:
        return item, {}
    document = cast(Document, item)
    images, reasons = list(document["images"]), {}
    for index, url in urls.items():
        outcome = fetcher.outcome(url)
        if outcome.reason:
            reasons[index] = FAILED + outcome.reason
        else:
            images[index] = cast(Image, {**images[index], "bytes": outcome.bytes})
    return cast(Document, {**document, "images": images}), reasons


class _Job:
    """A URL on its way."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.attempts = 0
        self.restart(0.0)

    def restart(self, pause: float) -> None:
        """Begin at the URL, after some seconds."""
        self.at = self.url  # where the redirects have led
        self.redirects = 0
        self.spent = 0.0  # seconds of this attempt
        self.not_before = time.monotonic() + pause


class _Fetcher:
    """Threads that fetch what they are asked for into the ledger."""

    def __init__(self, ledger: Ledger, config: FetchConfig, most_bytes: int, reach: Reach) -> None:
        self._ledger, self._config, self._most_bytes, self._reach = ledger, config, most_bytes, reach
        self._jobs: list[_Job] = []  # that wait, in the order in which they were asked for
        self._busy: Counter[str] = Counter()  # requests under way, by host
        self._open: set[str] = set()  # URLs that have no outcome yet
        self._tried: set[str] = set()  # URLs that this call has asked for
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None
        self._closed = False
        self._work, self._done = (threading.Condition(threading.Lock()) for _ in range(2))

    def ask(self, url: str) -> None:
        """Fetch a URL, unless the ledger has its outcome or it is on its way."""
        reason = self._ledger.reason(url)
        known = reason is not None and not (reason and self._config.retry_failed)
        if known or url in self._tried:
            return
        self._tried.add(url)
        with self._done:
            self._open.add(url)
        self._put(_Job(url))
        if len(self._threads) < self._config.concurrency:
            self._threads.append(threading.Thread(target=self._run, daemon=True))
            self._threads[-1].start()

    def has(self, urls: Iterable[str]) -> bool:
        """Whether all of them have an outcome."""
        with self._done:
            return self._open.isdisjoint(urls)

    def outcome(self, url: str) -> Outcome:
        """How a URL that was asked for ended; waits for it."""
        with self._done:
            self._done.wait_for(lambda: url not in self._open or self._error)
        if self._error:
            raise self._error
        return self._ledger.get(url)

    def close(self) -> None:
        """Begin no further request, and write the ledger."""
        with self._work:
            self._closed = True
            self._work.notify_all()
        self._ledger.flush()

    def _run(self) -> None:
        try:
            while job := self._take():
                host = host_of(job.at)
                try:
                    again = self._step(job)
                finally:
                    with self._work:
                        self._busy[host] -= 1
                        self._busy += Counter()  # forgets the hosts that are at 0
                        self._work.notify()
                if again:
                    self._put(job)
        except BaseException as error:  # of the disk, or a mistake in the code: whoever waits has to hear of it
            with self._done:
                self._error = error
                self._done.notify_all()

    def _put(self, job: _Job) -> None:
        with self._work:
            self._jobs.append(job)
            self._work.notify()

    def _take(self) -> _Job | None:
        """The first job whose time has come and whose host has room; None when all is over."""
        with self._work:
            while not self._closed:
                now = time.monotonic()
                first: float | None = None  # time of the next job, if none has come
                for index, job in enumerate(self._jobs):
                    host = host_of(job.at)
                    if self._busy[host] >= self._config.per_host:
                        continue
                    if job.not_before <= now:
                        self._busy[host] += 1
                        return self._jobs.pop(index)
                    first = job.not_before if first is None else min(first, job.not_before)
                self._work.wait(None if first is None else first - now)
        return None

    def _step(self, job: _Job) -> bool:
        """One request; whether the job goes on."""
        started = time.monotonic()
        limits = Limits(self._config.timeout, self._config.longest - job.spent, self._most_bytes)
        answer = get(job.at, self._config.user_agent, limits, self._reach, honour_opt_out=self._config.honour_opt_out)
        job.spent += time.monotonic() - started
        if answer.redirect:
            target = _joined(job.at, answer.redirect)
            if target and job.redirects < MOST_REDIRECTS:
                job.at, job.redirects = target, job.redirects + 1
                return True
            answer = Answer(answer.status, "too many redirects" if target else "bad URL")
        job.attempts += 1
        pause = max(answer.wait, FIRST_PAUSE * 2 ** (job.attempts - 1) * random.uniform(1, 1.5))
        if answer.may_pass and job.attempts <= self._config.retries and pause <= LONGEST_PAUSE:
            job.restart(pause)
            return True
        self._ledger.add(job.url, Outcome(answer.status, answer.reason, job.attempts, answer.bytes))
        with self._done:
            self._open.discard(job.url)
            self._done.notify_all()
        return False


def _joined(url: str, target: str) -> str | None:
    try:
        return urljoin(url, target)
    except ValueError:
        return None
