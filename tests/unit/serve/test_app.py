"""The interface by the client of OpenAI, and by hand where that client asks nothing."""

from __future__ import annotations

import base64
import io
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from m6.config import UserError
from m6.data.objectives import poem_prompt, question_prompt
from m6.generate.poems import PoemGrammar
from m6.generate.sampling import Sampling
from m6.generate.text_to_image import Grid, paint_codes
from m6.serve.app import make_app
from m6.serve.jobs import TextJob
from m6.serve.service import Service
from tests.unit.serve.small_service import data_url, make_service, served

QUESTION = [{"role": "user", "content": "什么是云？"}]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = make_service(tmp_path_factory.mktemp("serve") / "run", max_pixels=10_000, max_body_mb=0.25)
    yield made
    made.close()


@pytest.fixture(scope="module")
def url(service: Service) -> Iterator[str]:
    with served(service) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def seen(text: str = "", image: str = "") -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": image or data_url()}}]
    return [{"role": "user", "content": [*content, *([{"type": "text", "text": text}] if text else [])]}]


def test_a_model_says_what_it_can_do(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == "run"
    assert model.able == {"look": True, "write": True, "paint": True, "match": True}  # type: ignore[attr-defined]


def test_answers_are_those_of_the_engine(service: Service, client: openai.OpenAI) -> None:
    engine = service.engine
    picture = engine.picture(service.picture(base64.b64decode(data_url().split(",")[1])))
    for messages, prefix, most in (
        (QUESTION, (engine.text(question_prompt("什么是云？")),), 128),
        (seen(), (picture,), 64),
        (seen("描述这张图"), (picture,), 64),
        (seen("这是什么？"), (picture, engine.text("这是什么？")), 24),
    ):
        answer = client.chat.completions.create(model="run", messages=messages)  # type: ignore[arg-type]
        (ids,) = engine.write([prefix], most)
        assert answer.choices[0].message.content == engine.tokenizer.decode(ids)
        assert answer.usage is not None
        assert answer.usage.completion_tokens == len(ids)
        assert answer.choices[0].finish_reason == ("length" if len(ids) == most else "stop")


def test_a_poem_keeps_its_form(service: Service, client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="run", messages=[{"role": "user", "content": "春夜"}], temperature=0,
        extra_body={"task": "poem", "form": "五言绝句"},
    )  # fmt: skip
    engine = service.engine
    grammar = PoemGrammar(engine.tokenizer, engine.vocabulary.size, "五言绝句")
    (ids,) = engine.write([(engine.text(poem_prompt("春夜", "五言绝句")),)], 160, grammar=grammar)
    assert answer.choices[0].message.content == engine.tokenizer.decode(ids)


def test_a_stream_says_the_same_and_seeds_count(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "run", "messages": QUESTION, "max_tokens": 20, "temperature": 1.0, "n": 2}
    whole = [each.message.content for each in client.chat.completions.create(**asked, seed=3).choices]
    pieces = ["", ""]
    for chunk in client.chat.completions.create(**asked, seed=3, stream=True):
        pieces[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert pieces == whole
    assert whole[0] != whole[1]
    assert whole[0] != client.chat.completions.create(**asked, seed=4).choices[0].message.content


def test_a_completion_stops_where_it_is_told(service: Service, client: openai.OpenAI, url: str) -> None:
    counts = service.scheduler.counts
    while service.scheduler.working:  # what was answered before may not be counted yet
        time.sleep(0.01)
    finished, cancelled = counts.finished, counts.cancelled
    whole = client.completions.create(model="run", prompt="什么是云？", max_tokens=20).choices[0].text
    stop = whole[5]
    cut = client.completions.create(model="run", prompt="什么是云？", max_tokens=20, stop=[stop]).choices[0]
    assert (cut.text, cut.finish_reason) == (whole[: whole.index(stop)], "stop")
    while service.scheduler.working:  # until it has noticed
        time.sleep(0.01)
    assert (counts.finished, counts.cancelled) == (finished + 2, cancelled)
    assert f"m6_finished_total {counts.finished}.0\n" in httpx.get(f"{url}/metrics").text


def test_pictures_are_those_of_the_engine_and_come_bit_by_bit(service: Service, client: openai.OpenAI) -> None:
    engine, extra = service.engine, {"seed": 7, "guidance": 2.0}
    codes = paint_codes(engine, ["猫"] * 2, Grid(2, 2), Sampling(temperature=1.0, seed=7), 2.0)
    expected = engine.decode_codes(codes)
    answer = client.images.generate(model="run", prompt="猫", n=2, response_format="b64_json", extra_body=extra)
    assert answer.data is not None
    for one, wanted in zip(answer.data, expected, strict=True):
        assert one.b64_json
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(one.b64_json)))), wanted)
    stream = client.images.generate(model="run", prompt="猫", stream=True, extra_body=extra)
    events = [(event.type, event.b64_json) for event in stream]
    assert [kind for kind, _ in events] == ["image_generation.partial_image"] * 3 + ["image_generation.completed"]
    assert events[-1][1] == answer.data[0].b64_json


def test_texts_are_compared(service: Service, url: str) -> None:
    texts = ["红苹果", "猫"]
    found = httpx.post(f"{url}/v1/match", json={"image": data_url(), "texts": texts}).json()["scores"]
    assert found == pytest.approx(service.match(base64.b64decode(data_url().split(",")[1]), texts))
    assert len(set(found)) == 2


def odd_pictures() -> dict[str, str]:
    """By name, what decoders stumble over."""
    whole = base64.b64decode(data_url().split(",")[1])
    large = io.BytesIO()
    Image.new("1", (4000, 4000)).save(large, "PNG")
    moving = io.BytesIO()
    Image.new("RGB", (9, 9)).save(moving, "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")] * 3)
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (20, 10)).save(turned, "JPEG", exif=exif)
    deep = io.BytesIO()
    Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 150).save(deep, "PNG")
    encoded = {"cut": whole[: len(whole) // 2], "none": b"", "text": b"GIF89a but no more", "bomb": large.getvalue()}
    encoded |= {"moving": moving.getvalue(), "turned": turned.getvalue(), "deep": deep.getvalue()}
    urls = {name: f"data:image/png;base64,{base64.b64encode(data).decode()}" for name, data in encoded.items()}
    return urls | {
        "cmyk": data_url(0, "JPEG", "CMYK"),
        "grey": data_url(0, "PNG", "LA"),
        "few": data_url(0, "PNG", "P"),
    }


@pytest.mark.parametrize("name", list(odd_pictures()))
def test_odd_pictures_are_read_or_refused(url: str, name: str) -> None:
    answer = httpx.post(f"{url}/v1/chat/completions", json={"messages": seen("", odd_pictures()[name])}, timeout=60)
    refused = name in ("cut", "none", "text", "bomb")
    assert answer.status_code == (400 if refused else 200), answer.text
    if refused:
        assert "picture" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        ("chat/completions", {"messages": []}, 400, "messages"),
        ("chat/completions", {"messages": [{"role": "system", "content": "x"}]}, 400, "none of the user"),
        ("chat/completions", {"messages": [{"role": "user", "content": " "}]}, 400, "is empty"),
        ("chat/completions", {"messages": QUESTION, "temperature": -1}, 400, "temperature"),
        ("chat/completions", {"messages": QUESTION, "task": "poem", "form": "十言"}, 400, "十言"),
        ("chat/completions", {"messages": [{"role": "user", "content": "长" * 3000}]}, 400, "this model reads"),
        ("chat/completions", {"messages": seen("", "http://127.0.0.1/a.png")}, 400, "addresses are not fetched"),
        ("chat/completions", {"messages": seen("", "data:image/png;base64,§")}, 400, "not base64"),
        ("images/generations", {"prompt": ""}, 400, "prompt"),
        ("images/generations", {"prompt": "猫", "size": "17x16"}, 400, "no multiple of 8"),
        ("images/generations", {"prompt": "猫", "guidance": -1}, 400, "guidance"),
        ("match", {"image": data_url(), "texts": []}, 400, "texts"),
        ("chat/completions", {"messages": [{"role": "user", "content": "a" * 300_000}]}, 413, "larger than"),
        ("nothing", {}, 404, "nothing answers POST /v1/nothing"),
        ("completions", {"prompt": " "}, 400, "prompt: it is empty"),
        ("completions", {"prompt": "春", "logprobs": 3}, 400, "logprobs: they are not given; leave it out"),
        ("chat/completions", {"messages": QUESTION, "tools": [{"type": "function"}]}, 400, "this model calls none"),
        ("chat/completions", {"messages": QUESTION, "response_format": {"type": "json_object"}}, 400, "are plain text"),
        ("chat/completions", {"messages": QUESTION, "logprobs": True}, 400, "logprobs: they are not given"),
        ("chat/completions", {"messages": QUESTION, "stop": 5}, 400, "stop: it has to be a text, or a list"),
        ("chat/completions", {"messages": QUESTION, "form": "五言绝句"}, 400, 'it is for poems; add "task": "poem"'),
        ("chat/completions", {"messages": seen("春"), "task": "poem"}, 400, "leave the picture out"),
        ("chat/completions", {"messages": [{"role": "user", "content": seen()[0]["content"] * 2}]}, 400, "2 pictures"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400,
         "messages.0.content.0.type: Input should be 'text' or 'image_url'; a part is {"),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
         400, "messages.0.content.0.image_url: it has to be an object; a part is {"),
        ("chat/completions", {"messages": [{"role": "user", "content": 5}]}, 400,
         "messages.0.content: Input should be a valid string"),
        ("chat/completions", {"messages": QUESTION, "model": "gpt-4"}, 404, "model 'gpt-4': this server has run"),
        ("completions", {"prompt": "春", "model": "gpt-4"}, 404, "this server has run"),
        ("images/generations", {"prompt": "猫", "model": "dall-e-3"}, 404, "this server has run"),
        ("images/generations", {"prompt": "猫", "size": "large"}, 400, "size: it has to be pixels"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_as_openai_does(
    url: str, path: str, body: dict[str, Any], status: int, line: str
) -> None:
    answer = httpx.post(f"{url}/v1/{path}", json=body, timeout=60)
    assert answer.status_code == status, answer.text
    assert line in answer.json()["error"]["message"]


def test_a_body_that_is_not_said_to_be_json_is_told_so(url: str) -> None:
    answer = httpx.post(f"{url}/v1/completions", content='{"prompt": "春"}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400
    assert "Content-Type is text/plain; it has to be application/json" in answer.json()["error"]["message"]


def test_a_route_that_is_asked_in_another_way_says_in_which_it_answers(url: str) -> None:
    answer = httpx.get(f"{url}/v1/completions")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert "nothing answers GET /v1/completions" in answer.json()["error"]["message"]
    answer = httpx.post(f"{url}/v1/models")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_broken_json_is_told_with_its_place(url: str) -> None:
    content = '{\n "prompt": "春",\n "n": }'
    answer = httpx.post(f"{url}/v1/completions", content=content, headers={"Content-Type": "application/json"})
    assert answer.json()["error"]["message"].endswith(": Expecting value, line 3, column 7")


def test_a_model_is_found_by_its_name_or_by_ours(client: openai.OpenAI) -> None:
    assert client.models.retrieve("run").id == client.models.retrieve("m6").id == "run"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("gpt-4")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    assert client.completions.create(model="m6", prompt="云", max_tokens=1).model == "run"


def test_null_is_as_if_left_out(url: str) -> None:
    nulls = dict.fromkeys(
        ("model", "temperature", "top_p", "n", "seed", "stop", "stream", "stream_options", "max_tokens", "logprobs")
    )
    chat = {**nulls, **dict.fromkeys(("tools", "response_format", "task", "form", "max_completion_tokens"))}
    paint = dict.fromkeys(("model", "n", "size", "response_format", "stream", "partial_images", "best", "guidance"))
    for path, body, with_nulls in (
        ("completions", {"prompt": "云"}, nulls), ("chat/completions", {"messages": QUESTION}, chat),
        ("images/generations", {"prompt": "猫", "seed": 1}, paint | {"temperature": None}),
    ):  # fmt: skip
        plain, told = (httpx.post(f"{url}/v1/{path}", json=each, timeout=60) for each in (body, body | with_nulls))
        assert told.status_code == 200, told.text
        name = "data" if "data" in plain.json() else "choices"
        assert told.json()[name] == plain.json()[name]


def test_a_stream_begins_with_the_role_and_ends_with_what_was_used(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "run", "messages": QUESTION, "max_tokens": 8, "n": 2}
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    for index in range(2):
        roles = [chunk.choices[0].delta.role for chunk in chunks[:-1] if chunk.choices[0].index == index]
        assert roles == ["assistant"] + [None] * (len(roles) - 1)
    assert chunks[-1].choices == []
    assert chunks[-1].usage == client.chat.completions.create(**asked).usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert all(chunk.choices for chunk in client.chat.completions.create(**asked, stream=True))


def test_pictures_count_as_what_was_read(service: Service, client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "run", "messages": seen("这是什么？"), "max_tokens": 1}
    used = client.chat.completions.create(**asked).usage
    assert used is not None
    assert used.prompt_tokens == 4 + len(service.engine.text("这是什么？").ids)


@pytest.mark.parametrize("partial", [0, 2])
def test_so_many_pictures_are_shown_on_the_way_as_are_asked_for(client: openai.OpenAI, partial: int) -> None:
    extra = {"size": "32x32", "seed": 1}
    stream = client.images.generate(model="run", prompt="猫", stream=True, partial_images=partial, extra_body=extra)
    events = [(event.type.split(".")[1], getattr(event, "partial_image_index", None)) for event in stream]
    assert events == [*(("partial_image", index) for index in range(partial)), ("completed", None)]


def test_a_poem_is_drawn_as_by_the_command(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "run", "messages": [{"role": "user", "content": "春夜"}], "seed": 3}
    asked |= {"extra_body": {"task": "poem"}, "max_tokens": 20}
    told = client.chat.completions.create(**asked, temperature=0.8, top_p=0.9).choices[0].message.content
    assert client.chat.completions.create(**asked).choices[0].message.content == told
    assert client.chat.completions.create(**asked, temperature=0).choices[0].message.content != told


def test_a_size_for_which_there_is_no_room_is_refused_with_one_that_has_some(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run")
    with served(service) as url:

        def paint(size: str) -> httpx.Response:
            asked = {"prompt": "猫", "size": size, "stream": True}
            return httpx.post(f"{url}/v1/images/generations", json=asked, timeout=60)

        refused = paint("512x512")
        assert refused.status_code == 400
        message = refused.json()["error"]["message"]
        largest = re.findall(r"room for (\d+x\d+)", message)[0]
        assert paint(largest).status_code == 200
        larger = int(largest.split("x")[0]) + service._code_side
        assert paint(f"{larger}x{larger}").status_code == 400, "it is the largest"
        assert f"room for {largest}" in paint("99999x8").json()["error"]["message"]
    service.close()
    wide = make_service(tmp_path / "run", max_size=128)
    assert wide.scheduler.slots.capacity > service.scheduler.slots.capacity
    wide.close()
    with pytest.raises(UserError, match="--max_size: size 100001"):
        make_service(tmp_path / "run", max_size=100_001)


def test_a_server_too_small_for_guidance_says_so(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", slots=2, text_slots=1)
    with served(service) as url:
        asked = {"prompt": "猫", "guidance": 2}
        message = httpx.post(f"{url}/v1/images/generations", json=asked).json()["error"]["message"]
        assert "takes 2 slots, this server has 1 for paintings; take guidance 1, or start it with more" in message
    service.close()


def test_more_slots_than_there_is_memory_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--slots 10000000: their keys and values take [0-9,.]+ GiB"):
        make_service(tmp_path / "run", slots=10_000_000)


def test_the_description_has_limits_and_keys_as_its_standard_does(tmp_path: Path, service: Service) -> None:
    told = make_app(service).openapi()
    fields = told["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"type": "integer", "minimum": 1, "maximum": 16} in fields["n"]["anyOf"]
    assert "model has learnt no dialogue" in fields["messages"]["description"]
    prompt = told["components"]["schemas"]["CompletionRequest"]["properties"]["prompt"]
    assert (prompt["minLength"], prompt["pattern"]) == (1, r"\S")
    assert "securitySchemes" not in told["components"]
    locked = make_service(tmp_path / "run", api_key="secret")
    told = make_app(locked).openapi()
    assert [each["scheme"] for each in told["components"]["securitySchemes"].values()] == ["bearer"]
    needing = {path for path, ways in told["paths"].items() for way in ways.values() if "security" in way}
    assert needing == {path for path in told["paths"] if path.startswith("/v1/")}
    locked.close()


def test_what_a_run_has_not_learnt_is_refused(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", "captioning", "text_to_image")
    with served(service) as url:
        for path, body in (
            ("chat/completions", {"messages": QUESTION}), ("completions", {"prompt": "什么是云？"}),
        ):  # fmt: skip
            answer = httpx.post(f"{url}/v1/{path}", json=body)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"] == (
                "this run has not learnt question_answering (answers to questions without a picture); "
                "it has learnt captioning, text_to_image"
            )
        poem = httpx.post(f"{url}/v1/chat/completions", json={"messages": QUESTION, "task": "poem"})
        assert "this run has not learnt poem (poems)" in poem.json()["error"]["message"]
        assert httpx.post(f"{url}/v1/chat/completions", json={"messages": seen()}).status_code == 200
    service.close()


def test_a_key_is_asked_for_if_there_is_one(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", api_key="secret")
    with served(service) as url:
        for given, status in (
            ("Bearer wrong", 401), ("Bearer secret", 200), ("bearer secret", 200), ("BEARER  secret", 200),
            ("secret", 401), ("Basic secret", 401), ("", 401),
        ):  # fmt: skip
            answer = httpx.get(f"{url}/v1/models", headers={"Authorization": given})
            assert answer.status_code == status, given
        assert httpx.get(f"{url}/healthz").text == "ok\n"
    service.close()


def test_too_many_are_refused_at_once_and_one_who_leaves_frees_the_slot(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run", slots=2, text_slots=1, max_queue=1)
    body = {"messages": QUESTION, "stream": True, "max_tokens": 128}
    hold = threading.Event()
    take = service.scheduler.slots.step
    service.scheduler.slots.step = lambda *words: (hold.wait(0.05), take(*words))[1]  # type: ignore[method-assign]
    with served(service) as url, httpx.Client(base_url=url, timeout=60) as client:
        streams = [client.stream("POST", "/v1/chat/completions", json=body) for _ in range(3)]
        for number, stream in enumerate(streams, start=1):
            assert stream.__enter__().status_code == 200
            while service.scheduler.working < min(number, 2):
                time.sleep(0.01)
        refused = client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        for stream in streams:
            stream.__exit__(None, None, None)
        ended = time.monotonic() + 20
        while (service.scheduler.working or service.scheduler.waiting) and time.monotonic() < ended:
            time.sleep(0.05)
        assert not service.scheduler.working
        assert service.scheduler.counts.cancelled >= 1
        hold.set()
        assert client.post("/v1/chat/completions", json=body | {"stream": False}).status_code == 200
    service.close()


def test_the_page_and_its_pictures_are_there(url: str) -> None:
    page = httpx.get(f"{url}/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for name in ("style.css", "studio.js", "words.js", "api.js", "icon.svg", "examples/1.png"):
        assert httpx.get(f"{url}/{name}").status_code == 200, name
    assert "http" not in page.text.replace("http-equiv", "")
    assert "m6_accepted_total" in httpx.get(f"{url}/metrics").text


def test_the_best_of_some_paintings_are_given_first(service: Service, client: openai.OpenAI) -> None:
    extra: dict[str, Any] = {"seed": 7, "temperature": 1.0}
    all_four = client.images.generate(model="run", prompt="猫", n=4, extra_body=extra).data or []
    assert [one.seed for one in all_four] == [7, 8, 9, 10]  # type: ignore[attr-defined]
    pixels = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one.b64_json or "")))) for one in all_four]
    expected = np.argsort([-score for score in service.scores(pixels, "猫")])[:2]
    best = client.images.generate(model="run", prompt="猫", n=4, extra_body=extra | {"best": 2}).data or []
    assert [one.b64_json for one in best] == [all_four[index].b64_json for index in expected]
    scores = [one.score for one in best]  # type: ignore[attr-defined]
    assert scores == sorted(scores, reverse=True)
    again = client.images.generate(model="run", prompt="猫", extra_body=extra | {"seed": best[0].seed}).data or []  # type: ignore[attr-defined]
    assert again[0].b64_json == best[0].b64_json
    stream = client.images.generate(model="run", prompt="猫", n=4, stream=True, extra_body=extra | {"best": 2})
    assert [event.b64_json for event in stream if event.type.endswith("completed")] == [one.b64_json for one in best]


def test_a_stream_keeps_back_what_may_become_a_stop(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "run", "messages": QUESTION, "max_tokens": 40, "temperature": 1.5, "seed": 5}
    whole = client.chat.completions.create(**asked).choices[0].message.content or ""
    asked |= {"stop": [whole[8:11], whole[4:6] + "nowhere"]}
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == whole[: whole.index(whole[8:11])]
    assert chunks[-1].finish_reason == "stop"
    cut = client.chat.completions.create(**asked)
    assert cut.usage is not None
    assert cut.usage.completion_tokens < 40


def test_a_fault_in_one_request_leaves_the_others(
    service: Service, client: openai.OpenAI, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"model": "run", "messages": QUESTION, "max_tokens": 60}
    alone = client.chat.completions.create(**asked).choices[0].message.content
    put = TextJob.put

    def failing(self: TextJob, *words: Any) -> None:
        if self.most == 59:
            raise RuntimeError("this one only")
        put(self, *words)

    monkeypatch.setattr(TextJob, "put", failing)
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(lambda: client.chat.completions.create(**asked)) for _ in range(3)]
        with pytest.raises(openai.InternalServerError, match="a fault of the server"):
            client.chat.completions.create(**asked | {"max_tokens": 59})
        events = httpx.post(f"{url}/v1/chat/completions", json=asked | {"max_tokens": 59, "stream": True}).text
        assert "a fault of the server" in events
        assert "[DONE]" not in events
        assert [other.result().choices[0].message.content for other in others] == [alone] * 3
    while service.scheduler.working:  # told before its slots are free
        time.sleep(0.01)
