"""WARC and WET: what comes out of sound files, and of files cut short, garbled, or made to hurt."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m6.config import UserError
from m6.corpus.config import WarcConfig
from m6.corpus.drop import Drop
from m6.corpus.read import warc_records
from m6.corpus.sources import warc
from m6.corpus.sources.warc import registered_host
from tests.unit.corpus.reading import outcomes, read_all, same

SENTENCES = [
    "清晨的河面上浮着一层薄雾，渡船慢慢靠岸，船上的人都提着篮子。",
    "老街的钟表铺开了五十年，墙上的钟没有两只走得一样快。",
    "山里的雪下了三天，屋檐下的冰柱有一尺多长，孩子们用竹竿去敲。",
]


def record(content: bytes, kind: str = "response", url: str = "http://a.example.com/1", **fields: str) -> bytes:
    header = {"WARC-Type": kind, "WARC-Target-URI": url, "WARC-Date": "2021-03-08T00:00:00Z"}
    header |= {"Content-Length": str(len(content))} | {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in header.items())
    return b"WARC/1.0\r\n" + lines.encode() + b"\r\n" + content + b"\r\n\r\n"


def http(body: bytes, status: str = "200 OK", type_: str = "text/html; charset=utf-8", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {type_}\r\n{more}\r\n".encode() + body


def page(text: str, title: str = "雨后的山村") -> bytes:
    return f"<html><title>{title}</title><body><h1>{title}</h1><p>{text}</p></body></html>".encode()


PAGES = [record(http(page(text)), url=f"http://a{number}.example.com/") for number, text in enumerate(SENTENCES)]


def write(path: Path, data: bytes) -> WarcConfig:
    path.write_bytes(data)
    return WarcConfig(paths=(str(path),), heldout_share=0)


def gzipped(records: list[bytes]) -> bytes:
    return b"".join(gzip.compress(one, mtime=0) for one in records)


def reasons(config: WarcConfig) -> list[str]:
    return [item.reason for item in read_all(config) if isinstance(item, Drop)]


def test_a_page_becomes_a_document(tmp_path: Path) -> None:
    info = record(b"software: test\r\n", "warcinfo")
    request = record(b"GET / HTTP/1.1\r\n\r\n", "request")
    response = record(http(page(SENTENCES[0])), url="http://www.example.com.cn/a?b=1")
    config = write(tmp_path / "a.warc.gz", gzipped([info, request, response]))
    [document] = read_all(config.model_copy(update={"licence": "CC BY 4.0"}))
    assert not isinstance(document, Drop)
    assert (document["title"], document["text"], document["images"]) == ("雨后的山村", SENTENCES[0], [])
    assert document["group"] == "example.com.cn"
    assert document["attributes"] == {
        "url": "http://www.example.com.cn/a?b=1",
        "date": "2021-03-08T00:00:00Z",
        "licence": "CC BY 4.0",
    }


def test_the_form_of_the_file_makes_no_difference(tmp_path: Path) -> None:
    forms = {
        "plain.warc": b"".join(PAGES),
        "members.warc.gz": gzipped(PAGES),
        "one_member.warc.gz": gzip.compress(b"".join(PAGES)),
        "padded.warc.gz": gzipped(PAGES) + bytes(1000),
    }
    for name, data in forms.items():
        assert outcomes(write(tmp_path / name, data)) == SENTENCES, name


def test_it_reads_what_an_independent_library_writes(tmp_path: Path) -> None:
    fastwarc = pytest.importorskip("fastwarc.warc")
    for gzip_it in (False, True):
        stream = io.BytesIO()
        for number, text in enumerate(SENTENCES):
            one = fastwarc.WarcRecord()
            one.init_headers(record_type=fastwarc.WarcRecordType.response)
            one.headers["WARC-Target-URI"] = f"http://a{number}.example.com/"
            one.headers["Content-Type"] = "application/http; msgtype=response"
            one.set_bytes_content(http(page(text)))
            raw = io.BytesIO()
            one.write(raw)
            stream.write(gzip.compress(raw.getvalue()) if gzip_it else raw.getvalue())
        assert outcomes(write(tmp_path / f"a{gzip_it}.warc", stream.getvalue())) == SENTENCES


def test_wet_is_the_text_that_it_holds(tmp_path: Path) -> None:
    text = f"雨后的山村\r\n\n  {SENTENCES[0]}\n首页\n"
    one = record(text.encode(), "conversion", Content_Type="text/plain")
    assert outcomes(write(tmp_path / "a.warc.wet.gz", gzipped([one]))) == [f"雨后的山村\n{SENTENCES[0]}\n首页"]


@pytest.mark.parametrize(
    ("encoding", "type_", "head", "named"),
    [
        ("gb18030", "text/html; charset=GB2312", "", "auto"),
        ("gb18030", "text/html", '<meta http-equiv=Content-Type content="text/html; charset=gbk">', "auto"),
        ("gb18030", "text/html; charset=utf-8", "", "auto"),
        ("big5", "text/html; charset=big5", "", "auto"),
        ("big5", "text/html", "", "big5"),
        ("utf-8", "text/html; charset=iso-8859-1", "", "auto"),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, type_: str, head: str, named: str) -> None:
    text = SENTENCES[1] if encoding != "big5" else "老街的鐘錶鋪開了五十年，牆上的鐘沒有兩隻走得一樣快。"
    html = f"<html><head>{head}</head><p>{text}</p></html>".encode(encoding)
    config = write(tmp_path / "a.warc", record(http(html, type_=type_)))
    assert outcomes(config.model_copy(update={"encoding": named})) == [text]


def test_content_encodings(tmp_path: Path) -> None:
    brotli = pytest.importorskip("brotli")
    html = page(SENTENCES[0])
    raw = zlib.compressobj(wbits=-15)
    chunks = b"".join(b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (html[:50], html[50:])) + b"0\r\n\r\n"
    bodies = [
        ("Content-Encoding: gzip", gzip.compress(html)),
        ("Content-Encoding: gzip", gzip.compress(html)[:-8]),  # without its check sum
        ("Content-Encoding: gzip", html),  # unpacked by the crawler
        ("Content-Encoding: deflate", zlib.compress(html)),
        ("Content-Encoding: deflate", raw.compress(html) + raw.flush()),
        ("Content-Encoding: br", brotli.compress(html)),
        ("Content-Encoding: br", html),
        ("Transfer-Encoding: chunked", chunks),
        ("Transfer-Encoding: chunked", html),
        ("Content-Encoding: identity", html),
    ]
    records = [record(http(body, more=f"{header}\r\n")) for header, body in bodies]
    assert outcomes(write(tmp_path / "a.warc", b"".join(records))) == [SENTENCES[0]] * len(bodies)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (http(b"", "404 Not Found"), "HTTP status is not 200"),
        (http(b"\x89PNG", type_="image/png"), "not HTML"),
        (b"\x89PNG\r\n\r\n", "no HTTP header"),
        (b"", "no HTTP header"),
        (http(b""), "no main content"),
        (http(bytes(range(128, 256)) * 50), "wrong encoding"),
        (http(b"\x1f\x8b\x08\x00broken........", more="Content-Encoding: gzip\r\n"), "damaged content encoding"),
        (http(b"\xff\xffbroken", more="Content-Encoding: br\r\n"), "damaged content encoding"),
        (http(gzip.compress(bytes(20 * 2**20)), more="Content-Encoding: gzip\r\n"), "zip bomb"),
    ],
)
def test_refused_pages(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.warc"
    bad, good = read_all(write(path, record(content, url="http://x.cn/1") + PAGES[0]))
    assert isinstance(bad, Drop)
    assert (bad.reason, bad.where) == (reason, f"{path}, byte 0")
    assert "http://x.cn/1" in bad.sample
    assert not isinstance(good, Drop)


def test_a_brotli_bomb(tmp_path: Path) -> None:
    brotli = pytest.importorskip("brotli")
    bomb = brotli.compress(bytes(20 * 2**20))
    assert reasons(write(tmp_path / "a.warc", record(http(bomb, more="Content-Encoding: br\r\n")))) == ["zip bomb"]


def test_resources_are_pages_without_a_header(tmp_path: Path) -> None:
    html = record(page(SENTENCES[0]), "resource", Content_Type="text/html; charset=utf-8")
    data = record(b"{}", "resource", Content_Type="application/json")
    assert outcomes(write(tmp_path / "a.warc", html + data)) == [SENTENCES[0], "(not HTML)"]


@pytest.mark.parametrize("form", ["plain", "gzip"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_cut_anywhere_what_came_before_is_whole(
    form: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = b"".join(PAGES) if form == "plain" else gzipped(PAGES)
    ends = [len(b"".join(PAGES[:n]) if form == "plain" else gzipped(PAGES[:n])) for n in range(4)]
    cut = data.draw(st.integers(1, len(whole) - 1))
    items = read_all(write(tmp_path_factory.mktemp("cut") / "a.warc", whole[:cut]))
    texts = [item["text"] for item in items if not isinstance(item, Drop)]
    num_whole = sum(end <= cut + (4 if form == "plain" else 0) for end in ends[1:])  # the last line ends may be missing
    assert texts == SENTENCES[:num_whole]
    if cut not in ends and num_whole < 3 and cut > ends[num_whole] + 3:
        assert [item.reason for item in items if isinstance(item, Drop)][-1:] != []


@pytest.mark.parametrize("form", ["plain", "gzip"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damage_costs_no_other_record(form: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes overwritten within the second record's content leave the first and the third alone."""
    whole = [bytearray(one) for one in (PAGES if form == "plain" else [gzip.compress(one, mtime=0) for one in PAGES])]
    start = len(whole[1]) // 2 if form == "plain" else 0
    for _ in range(data.draw(st.integers(1, 5))):
        whole[1][data.draw(st.integers(start, len(whole[1]) - 5))] = data.draw(st.integers(0, 255))
    items = read_all(write(tmp_path_factory.mktemp("cut") / "a.warc", b"".join(map(bytes, whole))))
    texts = [item["text"] for item in items if not isinstance(item, Drop)]
    assert texts[0] == SENTENCES[0]
    assert texts[-1] == SENTENCES[2]


@pytest.mark.parametrize(
    ("garbage", "kept"),
    [
        (b"these bytes are no record\r\n\r\n", [0, 1, 2]),
        (b"WARC/1.0\r\nno colon\r\n\r\n", [0, 1, 2]),
        (b"WARC/1.0\r\nContent-Length: -5\r\n\r\n", [0, 1, 2]),
        (b"WARC/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n", [0, 1, 2]),
        (b"WARC/1.0\r\n" + b"x" * 100_000 + b"\r\n\r\n", [0, 1, 2]),
    ],
)
def test_garbage_between_records(tmp_path: Path, garbage: bytes, kept: list[int]) -> None:
    for name, data in (
        ("a.warc", PAGES[0] + garbage + PAGES[1] + PAGES[2]),
        ("b.warc.gz", gzip.compress(PAGES[0] + garbage + PAGES[1] + PAGES[2])),
        ("c.warc.gz", gzipped([PAGES[0], garbage, PAGES[1], PAGES[2]])),
        ("d.warc.gz", gzipped([PAGES[0]]) + garbage + gzipped(PAGES[1:])),
    ):
        config = write(tmp_path / name, data)
        texts = [item["text"] for item in read_all(config) if not isinstance(item, Drop)]
        assert texts == [SENTENCES[number] for number in kept], name
        assert len(reasons(config)) == 1


def test_wrong_lengths(tmp_path: Path) -> None:
    short = record(http(page(SENTENCES[1])), Content_Length="150")
    long = record(http(page(SENTENCES[1])), Content_Length="100000")
    for wrong, expected in ((short, "garbage between records"), (long, "truncated record")):
        config = write(tmp_path / "a.warc.gz", gzipped([PAGES[0], wrong, PAGES[2]]))
        assert expected in reasons(config)
        texts = [item["text"] for item in read_all(config) if not isinstance(item, Drop)]
        assert (texts[0], texts[-1]) == (SENTENCES[0], SENTENCES[2])


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warc_records, "_FREE_BYTES", 2**20)
    path = tmp_path / "a.warc.gz"
    bomb = gzip.compress(record(b"", Content_Length=str(2**30)) + bytes(40 * 2**20))
    first, dropped, drop, last = read_all(write(path, gzipped(PAGES[:1]) + bomb + gzipped(PAGES[2:])))
    assert isinstance(dropped, Drop)
    assert isinstance(drop, Drop)
    assert (dropped.reason, drop.reason, drop.where) == (
        "long record",
        "zip bomb",
        f"{path}, byte {len(gzipped(PAGES[:1]))}",
    )
    assert not isinstance(first, Drop)
    assert not isinstance(last, Drop)


def test_a_record_of_100_megabytes_is_passed_over_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    header = record(b"", Content_Length=str(100 * 2**20)).removesuffix(b"\r\n\r\n")
    with path.open("wb") as file:
        file.write(header)
        file.seek(100 * 2**20, io.SEEK_CUR)
        file.write(b"\r\n\r\n" + PAGES[1])
    tracemalloc.start()
    result = outcomes(WarcConfig(paths=(str(path),)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result == ["(long record)", SENTENCES[1]]
    assert peak < 8 * 2**20


def test_pictures_are_kept_as_addresses_if_asked(tmp_path: Path) -> None:
    pictures = f'<img src="/b.jpg" alt=""><img src="data:image/png;base64,{"A" * 999}">'
    html = f"<p>{SENTENCES[0]}</p><p>{pictures}</p><p>{SENTENCES[1]}</p>"
    config = write(tmp_path / "a.warc", record(http(html.encode()), url="http://a.example.com/x/1"))
    [without] = read_all(config)
    [document] = read_all(config.model_copy(update={"with_images": True}))
    assert not isinstance(without, Drop)
    assert not isinstance(document, Drop)
    assert without["images"] == []
    [image] = document["images"]
    assert (image["url"], image["bytes"], image["offset"]) == ("http://a.example.com/b.jpg", b"", len(SENTENCES[0]) + 1)


def test_nothing_to_read(tmp_path: Path) -> None:
    assert reasons(write(tmp_path / "empty.warc", b"")) == ["no records"]
    assert reasons(write(tmp_path / "text.warc", "这不是 WARC。".encode())) == ["garbage between records"]
    assert reasons(write(tmp_path / "page.warc.gz", gzip.compress(page(SENTENCES[0])))) == ["garbage between records"]
    with pytest.raises(UserError, match=r"corpus\.sources\.shop\.paths: .*missing\.warc"):
        read_all(WarcConfig(paths=(str(tmp_path / "missing.warc"),)))
    with pytest.raises(UserError, match="encoding"):
        read_all(WarcConfig(paths=(str(tmp_path / "empty.warc"),), encoding="gbk2"))


def test_the_same_record_twice_is_two_documents_of_one_id(tmp_path: Path) -> None:
    first, second = read_all(write(tmp_path / "a.warc", PAGES[0] * 2))
    assert same(first) == same(second)


def test_a_site_does_not_cross_the_split(tmp_path: Path) -> None:
    records = [
        record(http(page(f"{text}{n}")), url=f"http://s{n}.site{n % 7}.com.cn/{n}")
        for n in range(40)
        for text in SENTENCES[:1]
    ]
    config = write(tmp_path / "a.warc", b"".join(records)).model_copy(update={"heldout_share": 0.5})
    splits: dict[str, set[str]] = {}
    for item in read_all(config):
        assert not isinstance(item, Drop)
        splits.setdefault(item["group"], set()).add(item["split"])
    assert set(splits) == {f"site{n}.com.cn" for n in range(7)}
    assert all(len(sides) == 1 for sides in splits.values())
    assert set.union(*splits.values()) == {"train", "heldout"}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://news.example.com/a", "example.com"),
        ("https://WWW.Example.COM.CN:8080/", "example.com.cn"),
        ("http://www.bj.gov.cn/", "bj.gov.cn"),
        ("http://blog.example.bj.cn/", "example.bj.cn"),
        ("http://example.cn./", "example.cn"),
        ("http://com.cn/", "com.cn"),
        ("http://192.168.0.1/a", "192.168.0.1"),
        ("http://[::1]/a", "::1"),
        ("http://[bad/a", ""),
        ("localhost", ""),
        ("http://localhost/", "localhost"),
        ("http://中文.中国/", "中文.中国"),
    ],
)
def test_registered_host(url: str, host: str) -> None:
    assert registered_host(url) == host


def test_parts_are_files(tmp_path: Path) -> None:
    for name in ("b.warc", "a.warc.gz", "c.warc.wet.gz", "d.txt"):
        (tmp_path / name).write_bytes(PAGES[0])
    parts = warc.parts("web", WarcConfig(paths=(str(tmp_path),)))
    assert [(Path(part.of).name, part.start, part.stop) for part in parts] == [
        (name, 0, len(PAGES[0])) for name in ("a.warc.gz", "b.warc", "c.warc.wet.gz")
    ]
