"""Requests that are answered later: the queue over a real process, its webhooks, what survives a kill."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_process import FOLDERS, Process

from colonnade.packages import job as jobs
from colonnade.packages.job import Ask, Job, Outcome, Retries
from colonnade.replica.package.later.store import LEASE, Full, Store
from colonnade.replica.package.later.worker import Worker

LATERS = FOLDERS / "laters"


class Hook:
    """A webhook that refuses its first call."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.arrived = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.append(({key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(500 if len(hook.heard) == 1 else 204)
                self.end_headers()
                if len(hook.heard) > 1:
                    hook.arrived.set()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[Process]:
    process = start(home)
    yield process
    process.stop()


def start(home: Path) -> Process:
    process = Process(LATERS, COLONNADE_HOME=str(home), TRUSS_SECRET_webhook_secret="new, old")
    process.until("/ready", 200)
    return process


def fifo(folder: Path) -> Path:
    """Writing into it returns when the model reads it."""
    os.mkfifo(folder / "gate")
    return folder / "gate"


def submit(process: Process, inputs: object, key: str = "", **more: object) -> str:
    headers = {"Idempotency_Key": key} if key else {}
    answer = process.ask("POST", "/v1/models/laters:async_predict", {"model_input": inputs, **more}, **headers)
    assert answer.status == 202, answer.body
    return answer.json["request_id"]


def ended(process: Process, id: str) -> Any:
    while (page := process.ask("GET", f"/v1/models/laters/async_request/{id}").json)["status"] in (
        "QUEUED",
        "IN_PROGRESS",
    ):
        continue
    return page


def test_it_is_answered_and_kept(served: Process) -> None:
    page = ended(served, submit(served, {"name": "one"}))
    assert (page["status"], page["data"]["tries"], page["errors"]) == ("SUCCEEDED", 1, [])


def test_it_is_tried_again_and_then_fails_with_its_code(served: Process) -> None:
    again = {"max_attempts": 2, "initial_delay_ms": 1}
    page = ended(served, submit(served, {"name": "two", "failures": 1}, inference_retry_config=again))
    assert (page["status"], page["attempts"], page["data"]["tries"]) == ("SUCCEEDED", 2, 2)
    page = ended(served, submit(served, {"name": "three", "failures": 9}, inference_retry_config=again))
    assert (page["status"], page["attempts"]) == ("FAILED", 2)
    assert page["errors"] == [{"code": "MODEL_PREDICT_ERROR", "message": "Internal Server Error (in model/chainlet)."}]


@pytest.mark.parametrize("gives", ["nan", "a ring", "a stream"])
def test_what_cannot_be_kept_fails_at_once_and_stops_nothing(served: Process, gives: str) -> None:
    page = ended(served, submit(served, {"name": gives, "gives": gives}))
    assert (page["status"], page["attempts"], page["errors"][0]["code"]) == ("FAILED", 1, "MODEL_PREDICT_ERROR")
    assert ended(served, submit(served, {"name": f"after {gives}"}))["status"] == "SUCCEEDED"


@pytest.mark.parametrize("depth", [1, 500, 700, 780, 800, 830, 900, 990, 100_000])
def test_what_is_nested_is_taken_only_where_it_can_be_read_again(served: Process, depth: int) -> None:
    """Where exactly the limit lies depends on how deep the stack is."""
    inputs = b'{"name": "deep", "x": ' + b"[" * depth + b"]" * depth + b"}"
    answer = served.ask("POST", "/v1/models/laters:async_predict", b'{"model_input": ' + inputs + b"}")
    assert answer.status in ([202] if depth <= 500 else [400] if depth >= 900 else [202, 400])
    if answer.status == 202:
        assert ended(served, answer.json["request_id"])["status"] == "SUCCEEDED"
    assert served.predict(inputs).status in ([200] if depth <= 500 else [400] if depth >= 990 else [200, 400])


def test_urgent_ones_go_first_and_waiting_ones_can_be_canceled(served: Process, tmp_path: Path) -> None:
    """One slot: it is held while the others queue up."""
    gate = fifo(tmp_path)
    first = submit(served, {"name": "first", "wait": str(gate)})
    while served.ask("GET", "/v1/models/laters/async_queue_status").json["num_in_progress_requests"] != 1:
        continue
    slow = submit(served, {"name": "slow"}, priority=2)
    quick = submit(served, {"name": "quick"}, priority=0)
    dropped = submit(served, {"name": "dropped"}, priority=1)
    assert served.ask("GET", "/v1/models/laters/async_queue_status").json["num_queued_requests"] == 3
    path = f"/v1/models/laters/async_request/{dropped}"
    assert served.ask("DELETE", path).json == {"request_id": dropped, "canceled": True, "status": "CANCELED"}
    assert not served.ask("DELETE", path).json["canceled"]
    gate.write_text("go on")
    assert ended(served, first)["status"] == "SUCCEEDED"
    assert ended(served, slow)["data"]["order"][-3:] == ["first", "quick", "slow"]
    assert ended(served, quick)["status"] == "SUCCEEDED"


def test_one_at_work_can_be_canceled(served: Process, tmp_path: Path) -> None:
    id = submit(served, {"name": "stuck", "wait": str(fifo(tmp_path))})
    while served.ask("GET", f"/v1/models/laters/async_request/{id}").json["status"] != "IN_PROGRESS":
        continue
    assert served.ask("DELETE", f"/v1/models/laters/async_request/{id}").json["status"] == "CANCELED"
    assert ended(served, submit(served, {"name": "next"}))["status"] == "SUCCEEDED"


def test_the_same_key_is_the_same_request(served: Process) -> None:
    one = submit(served, {"name": "keyed"}, key="k1")
    assert submit(served, {"name": "keyed"}, key="k1") == one
    other = served.ask(
        "POST", "/v1/models/laters:async_predict", {"model_input": {"name": "else"}}, Idempotency_Key="k1"
    )
    assert (other.status, other.fault) == (409, ("04", "700"))


def test_a_webhook_is_signed_and_called_again(served: Process) -> None:
    hook = Hook()
    try:
        id = submit(served, {"name": "hooked"}, webhook_endpoint=hook.url)
        assert hook.arrived.wait(60)
    finally:
        hook.close()
    headers, body = hook.heard[1]
    told = json.loads(body)
    assert (told["type"], told["request_id"], told["data"]["name"]) == ("async_request_completed", id, "hooked")
    assert headers["x-baseten-request-id"] == id
    signed = [f"v1={hmac.new(key, body, hashlib.sha256).hexdigest()}" for key in (b"new", b"old")]
    assert headers["x-baseten-signature"] == ",".join(signed)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"model_input": {"name": "x"}, "priority": 3}, "priority"),
        ({}, "model_input"),
        ({"model_input": 1, "colour": 2}, "colour"),
        ({"model_input": 1, "webhook_endpoint": "http://example.com/x"}, "https"),
        ({"model_input": 1, "webhook_endpoint": "file:///etc/passwd"}, "https"),
        ({"model_input": 1, "webhook_endpoint": "https://[::1"}, "https"),
    ],
)
def test_what_is_refused(served: Process, body: object, said: str) -> None:
    answer = served.ask("POST", "/v1/models/laters:async_predict", body)
    assert answer.status == 400
    assert said in answer.json["error"]


def test_unknown_ones(served: Process) -> None:
    assert served.ask("GET", "/v1/models/laters/async_request/none").status == 404
    assert served.ask("DELETE", "/v1/models/laters/async_request/none").status == 404


def test_a_kill_loses_nothing(tmp_path: Path) -> None:
    """What waits and what is done is there in the next life; what was at work is taken up when its lease is over."""
    gate = fifo(tmp_path)
    process = start(tmp_path)
    done = submit(process, {"name": "done"})
    assert ended(process, done)["status"] == "SUCCEEDED"
    stuck = submit(process, {"name": "stuck", "wait": str(gate)}, inference_retry_config={"initial_delay_ms": 0})
    while process.ask("GET", f"/v1/models/laters/async_request/{stuck}").json["status"] != "IN_PROGRESS":
        continue
    waits = submit(process, {"name": "waits"})
    os.kill(process.child.pid, signal.SIGKILL)
    process.stop()
    store = Store(tmp_path / "later" / "laters.db")
    store.renew(f"{process.announced['epoch']}-{process.child.pid}", [stuck], -LEASE)  # as if the time had passed
    store.close()
    process = start(tmp_path)
    try:
        gate.write_text("go on")
        assert ended(process, done)["data"]["name"] == "done"
        assert ended(process, waits)["status"] == "SUCCEEDED"
        page = ended(process, stuck)
        assert (page["status"], page["attempts"]) == ("SUCCEEDED", 2)
    finally:
        process.stop()


# The queue and the core by themselves.


def ask(**more: Any) -> Ask:
    return Ask(model_input=1, **more)


def test_what_waits_too_long_expires_and_what_is_kept_long_enough_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path / "queue.db")
    store.add(Job("a", ask(max_time_in_queue_seconds=10, keep_seconds=100), 0.0), None)
    store.sweep(10.5)
    found = store.get("a")
    assert found is not None
    assert (found.state, found.code) == ("EXPIRED", "MODEL_NOT_READY")
    store.sweep(111.0)
    assert store.get("a") is None
    store.close()


def test_a_queue_has_room_for_so_much(tmp_path: Path) -> None:
    """And again, once something is forgotten; of what is forgotten, nothing stays in the file."""
    store = Store(tmp_path / "queue.db", largest=1 << 20)
    secret = "only mine " * 10_000
    many = (Job(f"j{index}", Ask(secret, max_time_in_queue_seconds=10, keep_seconds=1), 0.0) for index in range(100))
    with pytest.raises(Full):
        deque((store.add(job, None) for job in many), maxlen=0)
    store.sweep(11.0)
    store.sweep(12.0)
    assert store.counts()["num_queued_requests"] == 0
    store.add(Job("again", ask(), 12.0), None)
    store.close()
    assert b"only mine" not in (tmp_path / "queue.db").read_bytes()


def test_what_a_replica_lets_drop_is_lost_while_it_works_on_another(tmp_path: Path) -> None:
    store = Store(tmp_path / "queue.db")
    for id in ("a", "b"):
        store.add(Job(id, ask(), 0.0), None)
        store.claim("x", 0.0)
    store.renew("x", ["b"], LEASE)
    assert [each.id for each in store.lost(LEASE + 1)] == ["a"]
    store.renew("another", ["b"], 9 * LEASE)
    assert [each.id for each in store.lost(3 * LEASE)] == ["a", "b"]
    store.close()


async def test_a_webhook_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    hook, silent = Hook(), socket.create_server(("127.0.0.1", 0))
    worker = Worker(tmp_path / "queue.db", "x", _well, lambda _: 9, list)
    for url in (f"http://127.0.0.1:{silent.getsockname()[1]}/", hook.url):
        worker.store.add(Job(url, ask(webhook_endpoint=url), time.time()), None)
    task = asyncio.create_task(worker.work())
    try:
        assert await asyncio.to_thread(hook.arrived.wait, 60)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        silent.close()
        hook.close()


async def test_a_queue_that_cannot_be_used_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once, however often it is looked at."""
    (tmp_path / "queue.db").write_text("no database at all, and longer than nothing")
    worker = Worker(tmp_path / "queue.db", "x", _well, lambda _: 9, list)
    task = asyncio.create_task(worker.work())
    for _ in range(20):
        worker.wake()
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [each.message for each in caplog.records if "cannot be used" in each.message] == [
        f"the queue {tmp_path / 'queue.db'} cannot be used: file is not a database"
    ]


async def _well(_: Job) -> Outcome:
    return Outcome(b"1")


def test_two_replicas_never_have_the_same(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "queue.db"), Store(tmp_path / "queue.db")
    for index in range(6):
        one.add(Job(f"j{index}", ask(), float(index)), None)
    claimed = [store.claim("x", 10.0) for _ in range(4) for store in (one, two)]
    assert [each.id for each in claimed if each] == [f"j{index}" for index in range(6)]
    one.close()
    two.close()


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 10), st.integers(0, 10_000))
def test_attempts_end(failures: list[bool], most: int, delay: int) -> None:
    job = Job("a", ask(inference_retry_config=Retries(max_attempts=most, initial_delay_ms=delay)), 0.0)
    for failed in failures:
        job = jobs.after(jobs.begun(job), Outcome(error="no" if failed else "", code="C" if failed else ""), 1.0)
        if job.state != "QUEUED":
            break
        assert 1.0 <= job.not_before <= 6.0
    assert job.attempts <= most
    assert (job.state == "FAILED") == (job.attempts == most and failures[: job.attempts] == [True] * most)


def test_pauses_of_webhooks_grow_to_a_bound() -> None:
    assert [jobs.webhook_pause(n) for n in (1, 2, 3, 9)] == [1.0, 2.0, 4.0, 120.0]


def test_a_lost_replica_is_an_attempt() -> None:
    job = jobs.abandoned(jobs.begun(Job("a", ask(), 0.0)), 5.0)
    assert (job.state, job.code, job.not_before) == ("QUEUED", "MODEL_UNAVAILABLE", 6.0)
    assert jobs.after(jobs.begun(job), Outcome(error="no", final=True), 7.0).state == "FAILED"
