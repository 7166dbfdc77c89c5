"""What /metrics tells, read by the parser of Prometheus, after requests of every kind."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.serve.small_service import data_url, make_service, served

SEEN = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url()}}]}]}
ASKED = (
    ("chat/completions", SEEN | {"max_tokens": 3}),
    ("completions", {"prompt": "什么是云？", "max_tokens": 3}),
    ("images/generations", {"prompt": "猫", "n": 2}),
    ("match", {"image": data_url(), "texts": ["红苹果"]}),
    ("match", {"image": data_url(), "texts": []}),
)


def told(url: str) -> tuple[dict[str, float], dict[str, str]]:
    """Values by name and kind, and what each name means. Classes of times are left out."""
    answer = httpx.get(f"{url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    values = {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
        if "le" not in sample.labels
    }
    return values, {family.name: family.documentation for family in families}


def test_each_kind_of_work_is_counted_and_timed(tmp_path: Path) -> None:
    service = make_service(tmp_path / "run")
    with served(service) as url:
        before, said = told(url)
        assert all(said.values())
        assert before["m6_slots"] == service.config.slots
        assert before["m6_cache_bytes"] == service.scheduler.slots.bytes
        began = time.monotonic()
        statuses = [httpx.post(f"{url}/v1/{path}", json=body).status_code for path, body in ASKED]
        took = time.monotonic() - began
        assert statuses == [200, 200, 200, 200, 400]
        after, _ = told(url)
    service.close()
    counted = {name: after[f"m6_{name}_total"] for name in ("accepted", "finished", "failed", "refused")}
    assert counted == {"accepted": 3, "finished": 3, "failed": 0, "refused": 0}
    for kind, count in {"text": 2, "painting": 1, "match": 1, "picture": 1}.items():
        assert after[f"m6_request_seconds_count {kind}"] == count
        assert 0 < after[f"m6_request_seconds_sum {kind}"] < took
    for kind, count in {"text": 2, "painting": 1}.items():
        assert after[f"m6_first_token_seconds_count {kind}"] == count
        assert 0 < after[f"m6_first_token_seconds_sum {kind}"] <= after[f"m6_request_seconds_sum {kind}"]
    assert (after["m6_slots_used"], after["m6_waiting"], after["m6_working"]) == (0, 0, 0)
