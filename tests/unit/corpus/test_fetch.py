"""Fetching: real answers of a real server on this machine, good and bad, and what the ledger keeps of them."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from m6.config import UserError
from m6.corpus.config import FetchConfig
from m6.corpus.document import Document, Image, make_document
from m6.corpus.drop import Drop
from m6.corpus.fetch import ledger, web
from m6.corpus.fetch import pictures as fetch
from m6.corpus.fetch.pictures import fetch_images
from m6.corpus.fetch.web import Reach, is_public
from m6.corpus.starter import emoji_pictures

PENGUIN = emoji_pictures()["1f427.png"]
MOST = 100_000
QUICK = FetchConfig(enabled=True, concurrency=8, per_host=8, timeout=10, longest=20, retries=2)
HERE = Reach(lambda address: address in ("127.0.0.1", "::1") or is_public(address), frozenset())


class Handler(BaseHTTPRequestHandler):
    """Each path behaves in its own way."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.server, self.path.partition("?")[0]
        with server.lock:
            server.asked[name] += 1
        server.headers.append((self.headers["Host"], self.headers["User-Agent"]))
        try:
            getattr(self, name.strip("/").split("/")[0].replace("-", "_"), self.missing)(server.asked[name])
        except OSError:  # the client has had enough
            self.close_connection = True

    def answer(self, status: int = 200, body: bytes = PENGUIN, **headers: str) -> None:
        self.send_response(status)
        for header, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def missing(self, _: int) -> None:
        self.answer(404, b"no")

    def good(self, _: int) -> None:
        self.answer()

    def numbered(self, _: int) -> None:
        self.answer(200, PENGUIN + self.path.encode())

    def pause(self, _: int) -> None:
        with self.server.lock:
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
        time.sleep(0.05)
        with self.server.lock:
            self.server.under_way -= 1  # before the answer: once the client has it, it may ask for the next
        self.answer()

    def chunked(self, _: int) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(PENGUIN), PENGUIN))

    def until_the_end(self, _: int) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(PENGUIN)
        self.close_connection = True

    def flaky(self, time_asked: int) -> None:
        self.answer(*((503, b"") if time_asked < 3 else (200, PENGUIN)))

    def failing(self, _: int) -> None:
        self.answer(500, b"")

    def busy(self, time_asked: int) -> None:
        self.server.times.append(time.monotonic())
        if time_asked == 1:
            self.answer(429, b"", Retry_After="1")
        else:
            self.answer()

    def busy_for_long(self, _: int) -> None:
        self.answer(429, b"", Retry_After="3600")

    def silent(self, _: int) -> None:
        time.sleep(0.5)

    def drip(self, _: int) -> None:
        """A header that never ends, a byte now and then: no single wait is long."""
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(40):
            time.sleep(0.05)
            self.wfile.write(b"x")

    def endless(self, _: int) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(65_536))
            with self.server.lock:
                self.server.sent += 65_536

    def large(self, _: int) -> None:
        self.answer(200, b"", Content_Length=str(MOST + 1))

    def at_most(self, _: int) -> None:
        self.answer(200, bytes(MOST))

    def short(self, _: int) -> None:
        self.answer(200, PENGUIN, Content_Length=str(len(PENGUIN) + 10))
        self.close_connection = True

    def gzip(self, _: int) -> None:
        self.answer(Content_Encoding="gzip")

    def empty(self, _: int) -> None:
        self.answer(200, b"")

    def nonsense(self, _: int) -> None:
        self.wfile.write(b"SSH-2.0-OpenSSH_9\r\n\r\n")
        self.close_connection = True

    def noai(self, _: int) -> None:
        self.answer(X_Robots_Tag="noarchive, NoAI")

    def otherbot(self, _: int) -> None:
        self.answer(X_Robots_Tag="otherbot: noindex, noai")

    def moved(self, _: int) -> None:
        self.answer(302, b"", Location="/good/moved?x=1")

    def around(self, _: int) -> None:
        self.answer(301, b"", Location="/around")

    def to_private(self, _: int) -> None:
        self.answer(302, b"", Location="http://10.0.0.1/inside.png")

    def to_metadata(self, _: int) -> None:
        self.answer(307, b"", Location="http://169.254.169.254/latest/meta-data/")

    def to_file(self, _: int) -> None:
        self.answer(302, b"", Location="file:///etc/passwd")


class Server(ThreadingHTTPServer):
    """A server on this machine that counts what it is asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.headers: list[tuple[str, str]] = []
        self.times: list[float] = []
        self.sent = self.under_way = self.most_under_way = 0
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch, "FIRST_PAUSE", 0.01)
    with Server() as found:
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        yield found
        found.shutdown()


def document(*urls: str) -> Document:
    images = [Image(bytes=b"", width=0, height=0, offset=index, url=url) for index, url in enumerate(urls)]
    return make_document("web", "一只企鹅", images=images)


def outcome(url: str, folder: Path, config: FetchConfig = QUICK) -> str:
    """Why nothing came, or "" if the penguin did."""
    ((found, reasons),) = fetch_images([document(url)], folder, config, MOST, HERE)
    (image,) = cast(Document, found)["images"]
    assert bool(image["bytes"]) != bool(reasons)
    return reasons.get(0, "")


def test_items_come_in_order_with_bytes_or_reasons(server: Server, tmp_path: Path) -> None:
    names = ["pause/1", "nowhere", "good/2", "flaky/3", "good/4"]
    given = [document(f"{server.url}/{name}", f"{server.url}/good/{name}") for name in names]
    held = make_document(
        "web", "有图", images=[Image(bytes=PENGUIN, width=1, height=1, offset=0, url="http://10.0.0.1")]
    )
    broken, plain = Drop("not JSON", "a, line 2"), make_document("web", "无图")
    items: list[Document | Drop] = [given[0], broken, *given[1:3], held, *given[3:], plain]
    found = list(fetch_images(items, tmp_path / "ledger", QUICK, MOST, HERE))
    assert [reasons for _, reasons in found] == [{}, {}, {0: "not fetched: 404"}, {}, {}, {}, {}, {}]
    assert found[1][0] is broken
    assert found[4][0] is held
    assert found[7][0] is plain
    for (item, reasons), before in zip(found, items, strict=True):
        if isinstance(item, dict) and isinstance(before, dict) and before in given:
            assert [image["bytes"] for image in item["images"]] == [b"" if 0 in reasons else PENGUIN, PENGUIN]
            assert [image.get("url") for image in item["images"]] == [image.get("url") for image in before["images"]]
            assert before["images"][0]["bytes"] == b""
    assert server.asked["/flaky/3"] == 3


ANSWERS = {
    "good": "",
    "chunked": "",
    "until-the-end": "",
    "moved": "",
    "at-most": "",
    "otherbot": "",
    "flaky": "",
    "missing": "404",
    "failing": "500",
    "endless": "too large",
    "large": "too large",
    "short": "cut short",
    "gzip": "compressed",
    "empty": "empty",
    "nonsense": "bad answer",
    "noai": "opted out",
    "around": "too many redirects",
    "to-private": "private address",
    "to-metadata": "private address",
    "to-file": "not http",
    "busy-for-long": "429",
}
OFTEN = {"flaky": 3, "failing": 3, "short": 3, "around": 6}


def test_every_kind_of_answer(server: Server, tmp_path: Path) -> None:
    item = document(*(f"{server.url}/{name}" for name in ANSWERS))
    ((found, reasons),) = fetch_images([item], tmp_path, QUICK, MOST, HERE)
    said = {name: reasons.get(index, "") for index, name in enumerate(ANSWERS)}
    assert said == {name: reason and f"not fetched: {reason}" for name, reason in ANSWERS.items()}
    assert {name: server.asked[f"/{name}"] for name in ANSWERS} == {name: OFTEN.get(name, 1) for name in ANSWERS}
    images = dict(zip(ANSWERS, cast(Document, found)["images"], strict=True))
    assert images["chunked"]["bytes"] == images["until-the-end"]["bytes"] == images["moved"]["bytes"] == PENGUIN
    assert images["at-most"]["bytes"] == bytes(MOST)
    assert server.sent < 100 * MOST  # what the sockets of the system hold, and no more
    assert set(server.headers) == {(server.url.removeprefix("http://"), QUICK.user_agent)}


def test_slow_servers_keep_nobody(server: Server, tmp_path: Path) -> None:
    config = QUICK.model_copy(update={"timeout": 0.2, "longest": 0.4, "retries": 1})
    item = document(f"{server.url}/silent", f"{server.url}/drip")
    started = time.monotonic()
    ((_, reasons),) = fetch_images([item], tmp_path, config, MOST, HERE)
    assert reasons == dict.fromkeys((0, 1), "not fetched: time-out")
    assert 0.8 <= time.monotonic() - started < 3  # the drip alone would take 4


def test_a_server_is_left_alone_as_long_as_it_asks(server: Server, tmp_path: Path) -> None:
    assert outcome(f"{server.url}/busy", tmp_path) == ""
    first, second = server.times
    assert 1.0 <= second - first < 2.0


def test_opting_out_counts_unless_the_recipe_says_otherwise(server: Server, tmp_path: Path) -> None:
    assert outcome(f"{server.url}/noai", tmp_path / "a") == "not fetched: opted out"
    assert outcome(f"{server.url}/noai", tmp_path / "b", QUICK.model_copy(update={"honour_opt_out": False})) == ""


@pytest.mark.parametrize(("value", "binds"), [("1", True), (" 1 ", True), ("0", False), ("", False)])
def test_reserved_rights_of_mining_bind(value: str, binds: bool) -> None:
    headers = HTTPMessage()
    headers["tdm-reservation"] = value
    assert web.opted_out(headers, "open-m6/1.0") is binds


@pytest.mark.parametrize(
    ("tags", "binds"),
    [
        (["noai"], True),
        (["nofollow, NOIMAGEAI"], True),
        (["nofollow", "noimageindex"], True),
        (["otherbot: noindex"], False),
        (["otherbot: noindex, noai"], False),
        (["noindex, otherbot: nofollow"], True),
        (["Open-M6: noai"], True),
        (["otherbot: nofollow, open-m6: noindex"], True),
        (["*: noindex"], True),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noindex"], True),
        (["max-image-preview: large, noindex"], True),
        (["noindexing, all"], False),
        ([], False),
    ],
)
def test_whom_a_robots_tag_binds(tags: list[str], binds: bool) -> None:
    headers = HTTPMessage()
    for tag in tags:
        headers["X-Robots-Tag"] = tag
    assert web.opted_out(headers, "open-m6/1.0 (+https://example.org)") is binds


@pytest.mark.parametrize(
    "address",
    """127.0.0.1 127.8.8.8 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 192.0.2.1 198.18.0.1
    224.0.0.1 255.255.255.255 240.0.0.1 ::1 :: fe80::1 fe80::1%lo fc00::1 fec0::1 ff02::1 ::ffff:127.0.0.1
    ::ffff:8.8.8.8 ::10.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 2002:a00:1::1 2001:0:a00:1::1 2001:db8::1""".split(),  # noqa: SIM905
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_public_addresses() -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700:4700::1111")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/x.png", "private address"),
        ("http://2130706433/x.png", "private address"),  # 127.0.0.1 as one number
        ("http://[::ffff:10.0.0.1]/x.png", "private address"),
        ("https://169.254.169.254/latest/meta-data/", "private address"),
        ("http://8.8.8.8:22/x.png", "port"),
        ("http://user:secret@8.8.8.8/x.png", "password in the URL"),
        ("file:///etc/passwd", "not http"),
        ("data:image/png;base64,AAAA", "not http"),
        ("//8.8.8.8/x.png", "not http"),
        ("http:///x.png", "bad URL"),
        ("http://8.8.8.8:port/", "bad URL"),
        ("http://[8.8.8.8/", "bad URL"),
        (f"http://{'长' * 80}.cn/", "bad URL"),
    ],
)
def test_urls_that_are_never_asked(url: str, reason: str, tmp_path: Path) -> None:
    """The network of tests would raise if one were."""
    ((_, reasons),) = fetch_images([document(url)], tmp_path, QUICK, MOST)
    assert reasons == {0: f"not fetched: {reason}"}


def test_a_name_with_one_private_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    ((_, reasons),) = fetch_images([document("http://pictures.example/")], tmp_path, QUICK, MOST)
    assert reasons == {0: "not fetched: private address"}


def test_the_address_that_was_checked_is_the_one_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers 127.0.0.1, and 10.0.0.1 when it is asked again."""
    names: list[object] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        names.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (["127.0.0.1", "10.0.0.1"][len(names) - 1], port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert outcome(f"http://图片.example:{server.server_port}/good/企鹅.png?名=企 鹅", tmp_path) == ""
    assert names == ["图片.example".encode("idna").decode()]
    assert server.headers[0][0] == f"{names[0]}:{server.server_port}"
    assert server.asked["/good/%E4%BC%81%E9%B9%85.png"] == 1


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate")
def test_tls_asks_for_the_name_and_checks_it(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [str(tmp_path / name) for name in ("cert.pem", "key.pem")]
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=pictures.example"
        f" -addext subjectAltName=DNS:pictures.example -out {files[0]} -keyout {files[1]}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    asked: list[str] = []
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(*files)
    theirs.sni_callback = lambda _, name, __: asked.append(name)
    server.socket = theirs.wrap_socket(server.socket, server_side=True)
    address = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.server_port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: address)
    monkeypatch.setattr(web, "_contexts", [ssl.create_default_context(cafile=files[0])])
    assert outcome(f"https://pictures.example:{server.server_port}/good", tmp_path / "a") == ""
    wrong = f"https://others.example:{server.server_port}/good"
    assert outcome(wrong, tmp_path / "b") == "not fetched: certificate"
    monkeypatch.setattr(web, "_contexts", [])
    unknown = f"https://pictures.example:{server.server_port}/good"
    assert outcome(unknown, tmp_path / "c") == "not fetched: certificate"
    assert asked == ["pictures.example", "others.example", "pictures.example"]


def test_one_host_is_asked_a_few_things_at_once(server: Server, tmp_path: Path) -> None:
    items = [document(f"{server.url}/pause/{number}") for number in range(8)]
    config = QUICK.model_copy(update={"per_host": 2, "concurrency": 8})
    assert [reasons for _, reasons in fetch_images(items, tmp_path, config, MOST, HERE)] == [{}] * 8
    assert server.most_under_way == 2


def test_few_documents_run_ahead(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "AHEAD", 10)
    read = 0

    def many() -> Iterator[Document]:
        nonlocal read
        for number in range(40):
            read += 1
            yield document(f"{server.url}/good/{number}")

    for count, (_, reasons) in enumerate(fetch_images(many(), tmp_path, QUICK, MOST, HERE), start=1):
        assert reasons == {}
        assert read <= count + 6
    assert read == 40


def test_nothing_is_fetched_twice(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_FILE_ROWS", 5)
    monkeypatch.setattr(ledger, "_GROUP_ROWS", 2)
    names = [f"numbered/{number}" for number in range(12)] + ["nowhere", "numbered/3"]
    items = [document(f"{server.url}/{name}") for name in names]

    def run(config: FetchConfig = QUICK) -> list[tuple[bytes, dict[int, str]]]:
        found = fetch_images(items, tmp_path, config, MOST, HERE)
        return [(cast(Document, item)["images"][0]["bytes"], reasons) for item, reasons in found]

    first = run()
    expected: list[tuple[bytes, dict[int, str]]] = [(PENGUIN + f"/{name}".encode(), {}) for name in names]
    expected[12] = (b"", {0: "not fetched: 404"})
    assert first == expected
    assert set(server.asked.values()) == {1}
    assert [pq.read_metadata(file).num_rows for file in sorted(tmp_path.iterdir())] == [5, 5, 3]
    assert run() == first
    assert set(server.asked.values()) == {1}
    assert run(QUICK.model_copy(update={"retry_failed": True})) == first
    assert server.asked.pop("/nowhere") == 2
    assert set(server.asked.values()) == {1}
    rows = pq.read_table(sorted(tmp_path.iterdir())[-1]).to_pylist()
    url = f"{server.url}/nowhere"
    assert rows == [{"url": url, "status": 404, "reason": "404", "attempts": 2, "sha256": "", "bytes": b""}]


def test_a_failure_can_become_a_success(server: Server, tmp_path: Path) -> None:
    once = QUICK.model_copy(update={"retries": 0})
    url = f"{server.url}/flaky"
    assert outcome(url, tmp_path, once) == "not fetched: 503"
    assert outcome(url, tmp_path, once) == "not fetched: 503"
    assert server.asked["/flaky"] == 1
    again = once.model_copy(update={"retry_failed": True})
    assert [outcome(url, tmp_path, again) for _ in range(3)] == ["not fetched: 503", "", ""]
    assert server.asked["/flaky"] == 3


def test_a_success_counts_whatever_stands_after_it(tmp_path: Path) -> None:
    """Two workers, of a killed call and of the next one, may write at the same time."""
    for number, outcome in enumerate([ledger.Outcome(200, "", 1, PENGUIN), ledger.Outcome(0, "time-out", 3)]):
        one = ledger.Ledger(tmp_path / str(number))
        one.add("http://pictures.example/", outcome)
        one.flush()
        (file,) = (tmp_path / str(number)).iterdir()
        (tmp_path / "both").mkdir(exist_ok=True)
        file.rename(tmp_path / "both" / f"ledger-{number}.parquet")
    assert ledger.Ledger(tmp_path / "both").get("http://pictures.example/") == (200, "", 1, PENGUIN)


def test_a_reader_that_leaves_loses_nothing_that_came(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".half.tmp").write_bytes(b"of a killed call")
    found = fetch_images(
        [document(f"{server.url}/good"), document(f"{server.url}/good/2")], tmp_path, QUICK, MOST, HERE
    )
    next(found)
    found.close()  # type: ignore[attr-defined]
    assert outcome(f"{server.url}/good", tmp_path) == ""
    assert server.asked["/good"] == 1
    assert not list(tmp_path.glob(".*"))


def test_off_unless_asked_for(server: Server, tmp_path: Path) -> None:
    ((_, reasons),) = fetch_images([document(f"{server.url}/good")], tmp_path / "ledger", FetchConfig(), MOST, HERE)
    assert reasons == {0: "not fetched: fetching is off"}
    assert not server.asked
    assert not (tmp_path / "ledger").exists()


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger-0000-1.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"ledger-0000-1\.parquet: damaged .*delete it"):
        list(fetch_images([document("http://8.8.8.8/")], tmp_path, QUICK, MOST))


def test_a_full_disk_ends_the_call(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(ledger.Ledger, "add", full)
    with pytest.raises(OSError, match="No space left"):
        outcome(f"{server.url}/good", tmp_path)
