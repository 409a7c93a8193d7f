"""The page's server: answers, refusals, stopped searches, and visitors who see nothing of each other."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ctrlg.constraints import Constraint
from ctrlg.errors import ArgumentError
from ctrlg.page import comparing
from ctrlg.page.jobs import MOST_WAITING_EACH
from ctrlg.page.server import address, bound_socket
from ctrlg.page.settings import PageSettings

from .conftest import SECONDS, Site, wait_until

httpx = pytest.importorskip("httpx")
DOG: dict[str, Any] = {
    "before": "the",
    "after": ".",
    "number": 2,
    "fields": {"include": {"phrases": ["dog"], "inflect": False}, "length": {"least": 1, "most": 4}, "style": {}},
}


@pytest.fixture
def visitor(site: Site) -> Iterator[Any]:
    with httpx.Client(base_url=site.address, timeout=SECONDS) as client:
        assert client.get("/").status_code == 200
        yield client


@pytest.fixture
def other(site: Site) -> Iterator[Any]:
    with httpx.Client(base_url=site.address, timeout=SECONDS) as client:
        client.get("/")
        yield client


def lines(visitor: Any, name: str, body: Any) -> list[dict[str, Any]]:
    answer = visitor.post(f"/api/{name}", json=body)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_a_check_shows_the_constraint(visitor: Any) -> None:
    found = visitor.post("/api/check", json=DOG).json()
    assert "contains dog" in found["reads"] and "Keywords([['dog']])" in found["python"]
    assert "dog" in str(Constraint.from_dict(json.loads(found["json"])))


def test_a_request_is_prepared_while_nobody_waits(site: Site, visitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    assert site.page.writer is not None
    monkeypatch.setattr(site.page.writer, "prepare", made.append)
    assert visitor.post("/api/prepare", json=DOG).json() == {}
    wait_until(lambda: made and site.page.queue.idle)
    assert made[0].prefix == "the" and "dog" in str(made[0].constraint)
    assert visitor.post("/api/prepare", json={"number": 0}).status_code == 422


def test_suggestions_and_their_trace(visitor: Any) -> None:
    *progress, done = lines(visitor, "suggest", DOG)
    assert all(line["event"] == "progress" for line in progress) and done["event"] == "done"
    assert 1 <= len(done["suggestions"]) <= 2 and "contains dog" in done["reads"]
    for one in done["suggestions"]:
        text = "".join(piece["text"] for piece in one["pieces"])
        assert one["satisfied"] and text == f"the{one['content']}." and one["inserted"] == text[:-1]
        assert "dog" in [piece["text"] for piece in one["pieces"] if piece["kept"]]
        assert "".join(piece["text"] for piece in one["pieces"] if piece["new"]) == one["content"]
    *_, traced = lines(visitor, "trace", {"search": done["search"], "place": 0})
    steps = traced["trace"]["steps"]
    assert "".join(step["text"] for step in steps) == done["suggestions"][0]["content"] + "."
    assert 0 < traced["trace"]["start"] < 1 and steps[-1]["satisfied"] == pytest.approx(1)


def test_visitors_do_not_see_each_other(visitor: Any, other: Any) -> None:
    *_, done = lines(visitor, "suggest", DOG)
    for key in (done["search"], "nothing", None):
        answer = other.post("/api/trace", json={"search": key, "place": 0})
        assert answer.status_code == 422 and "no longer kept" in answer.json()["error"]
    for place in (99, -1, "0", None):
        assert visitor.post("/api/trace", json={"search": done["search"], "place": place}).status_code == 422
    assert visitor.post("/api/trace", json=[]).status_code == 422


def test_problems_come_with_their_fields(visitor: Any) -> None:
    both = {**DOG, "fields": {**DOG["fields"], "exclude": {"phrases": ["dog"]}}}
    answer = visitor.post("/api/check", json=both)
    assert answer.status_code == 422 and set(answer.json()["problems"]) == {"include", "exclude"}
    assert lines(visitor, "suggest", both)[-1]["problems"] == answer.json()["problems"]
    assert visitor.post("/api/suggest", json={"number": 0}).json()["problems"]["number"]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff", b'{"number": NaN}', b"x" * 500_000])
def test_what_is_no_request_is_refused(visitor: Any, body: bytes) -> None:
    for name in ("check", "suggest", "trace", "compare"):
        answer = visitor.post(f"/api/{name}", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 413, 422)
        assert set(answer.json()) <= {"error", "problems"} and "Traceback" not in answer.text


def test_other_sites_are_kept_out(site: Site, visitor: Any) -> None:
    host = site.address.removeprefix("http://").rstrip("/")
    assert visitor.get("/", headers={"Host": "example.org"}).status_code == 403
    assert visitor.post("/api/check", json=DOG, headers={"Origin": "http://example.org"}).status_code == 403
    assert visitor.post("/api/check", json=DOG, headers={"Origin": f"http://{host}"}).status_code == 200
    plain = visitor.post("/api/check", content=json.dumps(DOG), headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
    assert httpx.post(f"{site.address}api/check", json=DOG).status_code == 403  # without the cookie
    for path in ("/", "/static/page.js", "/api/page", "/nothing"):
        headers = visitor.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-content-type-options"] == "nosniff" and "server" not in headers
    assert visitor.get("/static/../server.py").status_code == 404
    assert visitor.get("/static/%2e%2e/server.py").status_code == 404


def test_a_visitor_who_leaves_stops_the_search(slowly: Site, visitor: Any) -> None:
    with visitor.stream("POST", "/api/suggest", json=DOG) as answer:
        for line in answer.iter_lines():
            if json.loads(line)["decided"] >= 2:
                break
    wait_until(lambda: slowly.page.queue.idle, seconds=2)
    steps = slowly.steps
    time.sleep(0.5)
    assert slowly.steps == steps


def test_a_search_ends_at_its_time_limit(slowly: Site, visitor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowly.page, "settings", PageSettings(time_limit=0.4))
    *_, last = lines(visitor, "suggest", DOG)
    assert last["event"] == "error" and last["error"].startswith("Stopped after 0.4 seconds")


def test_searches_wait_for_each_other(slowly: Site, visitor: Any, other: Any) -> None:
    waited: list[dict[str, Any]] = []
    first = threading.Thread(target=lines, args=(visitor, "suggest", DOG))
    first.start()
    wait_until(lambda: not slowly.page.queue.idle)
    waited += lines(other, "suggest", DOG)
    first.join()
    assert max(line.get("ahead", 0) for line in waited) == 1 and waited[-1]["event"] == "done"


def test_one_visitor_does_not_fill_the_queue(slowly: Site, visitor: Any, other: Any) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(lines(visitor, "suggest", DOG)[-1]["event"]))
        for _ in range(MOST_WAITING_EACH + 2)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.15)
    assert lines(other, "suggest", DOG)[-1]["event"] == "done"
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["done"] * (MOST_WAITING_EACH + 1) + ["error"]


def test_what_goes_wrong_inside_is_a_message(
    site: Site, visitor: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*arguments: Any, **settings: Any) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr(site.page.writer.generator, "batch", broken)  # type: ignore[union-attr]
    *_, last = lines(visitor, "suggest", DOG)
    assert last["event"] == "error" and last["error"].startswith("Something went wrong") and "secret" not in str(last)
    assert "RuntimeError: secret" in capsys.readouterr().err


def test_widths_are_compared(site: Site, visitor: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(comparing, "BITS", (4, 2))
    found = lines(visitor, "compare", DOG)
    rows = [line["row"] for line in found if line["event"] == "row"]
    assert [row["name"] for row in rows] == ["Mask alone, no HMM", "Float, 32 bits", "4 bits", "2 bits"]
    assert rows[0]["bytes"] == 0 < rows[3]["disk"] < rows[1]["disk"]
    assert all(row["milliseconds"] > 0 and row["suggestion"]["satisfied"] for row in rows)
    assert found[-1]["event"] == "done" and len(list(tmp_path.glob("hmm-*-bits/config.json"))) == 2
    assert [line["event"] for line in lines(visitor, "compare", DOG)].count("compressing") == 0


def test_an_address_that_is_taken_is_refused() -> None:
    with bound_socket(PageSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        assert address(taken, "127.0.0.1") == f"http://127.0.0.1:{port}/"
        with pytest.raises(ArgumentError, match=f"port {port}") as refused:
            bound_socket(PageSettings(port=port))
        assert "--port" in refused.value.hint
    with pytest.raises(ArgumentError, match="cannot listen"):
        bound_socket(PageSettings(host="no.such.name.invalid", port=0))
