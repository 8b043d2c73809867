"""The class contract and Truss's HTTP contract, against real processes, each serving a real folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

import msgspec
import numpy as np
import pytest
from package_process import FOLDERS, Process

from colonnade.packages.binary import from_binary, to_binary


@pytest.fixture(scope="module")
def served() -> Iterator[dict[str, Process]]:
    """Processes by folder, started when they are asked for and kept for the module: a start takes a second."""
    running = _Started()
    yield running
    for process in running.values():
        process.stop()


class _Started(dict[str, Process]):
    def __missing__(self, name: str) -> Process:
        process = Process(FOLDERS / name, TRUSS_SECRET_token="t0k3n", TRUSS_ENVIRONMENT="staging")
        process.until("/v1/models/model/loaded", 200)
        self[name] = process
        return process


def test_plain(served: dict[str, Process]) -> None:
    answer = served["plain"].predict({"a": 1})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "twice": [{"a": 1}, {"a": 1}],
        "beside": "packages",
        "words": ["one", "two"],
        "environment": {"name": "staging"},
        "here": True,
        "class": "Model",
    }


def test_secrets(served: dict[str, Process]) -> None:
    assert served["plain"].predict("secret").json == "t0k3n"
    assert served["plain"].predict("missing").status == 500


def test_an_exception_is_the_packages_fault_and_stays_in_the_log(served: dict[str, Process]) -> None:
    answer = served["plain"].predict("raise")
    assert (answer.status, answer.fault) == (500, ("04", "600"))
    assert answer.body == b'{"error":"Internal Server Error (in model/chainlet)."}'


def test_bad_json(served: dict[str, Process]) -> None:
    answer = served["plain"].predict(b'{"a": ')
    assert (answer.status, answer.fault) == (400, ("04", "700"))
    assert answer.json == {"error": "Invalid JSON payload: Expecting value: line 1 column 7 (char 6)"}


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, True),
        ("/ping", 200, {}),
        ("/v1/models/model", 200, {}),
        ("/v1/models/anything", 200, {}),
        ("/v1/models/model/loaded", 200, {}),
        ("/v1/models/model/schema", 404, {"error": "No schema found"}),
        ("/nothing", 404, {"detail": "Not Found"}),
        ("/invocations", 405, {"detail": "Method Not Allowed"}),
    ],
)
def test_pages(served: dict[str, Process], path: str, status: int, body: object) -> None:
    answer = served["plain"].ask("GET", path)
    assert (answer.status, answer.json) == (status, body)


def test_methods_that_are_not_there(served: dict[str, Process]) -> None:
    answer = served["plain"].ask("POST", "/v1/chat/completions", {})
    assert (answer.status, answer.fault) == (404, ("04", "700"))
    assert answer.json == {"error": "`chat_completions` must only be called if model has it."}


def test_invocations_is_predict(served: dict[str, Process]) -> None:
    assert served["plain"].ask("POST", "/invocations", "x").json["twice"] == ["x", "x"]


def test_stages(served: dict[str, Process]) -> None:
    assert served["stages"].predict(["in"], x_word="word").json == ["in", "pre", "word", "post"]


def test_an_http_exception_passes(served: dict[str, Process]) -> None:
    answer = served["stages"].predict(["http"])
    assert (answer.status, answer.fault, answer.json) == (418, ("04", "600"), {"error": {"short": "stout"}})


def test_a_response_and_postprocess_do_not_go_together(served: dict[str, Process]) -> None:
    assert served["stages"].predict(["response"]).status == 500


@pytest.mark.parametrize(("kind", "text"), [("sync", "0 1 2 "), ("async", "é0 é1 é2 ")])
def test_streams(served: dict[str, Process], kind: str, text: str) -> None:
    answer = served["streams"].predict({"kind": kind, "count": 3})
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body.decode() == text


def test_a_stream_is_gathered_for_who_accepts_json_alone(served: dict[str, Process]) -> None:
    inputs = {"kind": "async", "count": 2}
    assert served["streams"].predict(inputs, accept="application/json").json == "é0 é1 "
    streamed = served["streams"].predict({**inputs, "stream": True}, accept="application/json")
    assert streamed.body.decode() == "é0 é1 "


def test_a_stream_that_fails_before_its_first_piece_has_a_status(served: dict[str, Process]) -> None:
    answer = served["streams"].predict({"kind": "async", "count": 3, "fail": "first"})
    assert (answer.status, answer.fault) == (500, ("04", "600"))


@pytest.mark.parametrize("how", [{"kind": "sync", "fail": True}, {"kind": "async", "hang": True}])
def test_a_stream_that_breaks_off_is_seen_to(served: dict[str, Process], how: dict[str, object]) -> None:
    with pytest.raises(Exception, match=r"IncompleteRead|Remote end closed|Connection"):
        served["streams"].predict({**how, "count": 2})


def test_the_generator_ends_with_its_client(served: dict[str, Process]) -> None:
    process = served["streams"]
    connection = process.connect()
    body = json.dumps({"kind": "left", "count": 1, "hang": True})
    connection.request("POST", "/v1/models/model:predict", body)
    response = connection.getresponse()
    assert response.read(4) == "é0 ".encode()
    response.close()
    connection.close()
    while "left" not in process.predict("closed").json:
        continue


def test_typed(served: dict[str, Process]) -> None:
    answer = served["typed"].predict({"prompt": "hi", "sizes": [1, 2]})
    assert answer.body == b'{"answer":"HI","total":3}'
    wrong = served["typed"].predict({"sizes": ["x"]})
    assert (wrong.status, wrong.fault) == (400, ("04", "700"))
    assert wrong.json["error"].splitlines() == [
        "Input Parsing Errors:",
        "  `prompt`: Field required.",
        "  `sizes[0]`: Input should be a valid integer, unable to parse string as an integer.",
    ]


def test_typed_and_no_json(served: dict[str, Process]) -> None:
    answer = served["typed"].predict(b'{"a":')
    assert answer.json == {"error": "Input Parsing Error:\n  `__root__`: Expecting value: line 1 column 6 (char 5)."}


@pytest.mark.parametrize(("body", "kind"), [(b"\xff", "application/json"), (b"\xc1", "application/octet-stream")])
def test_bodies_that_nothing_can_read(served: dict[str, Process], body: bytes, kind: str) -> None:
    answer = served["plain"].predict(body, content_type=kind)
    assert (answer.status, answer.fault) == (400, ("04", "700"))


def test_schema(served: dict[str, Process]) -> None:
    page = served["typed"].ask("GET", "/v1/models/model/schema").json
    assert page["supports_streaming"] is False
    assert page["input_schema"]["required"] == ["prompt"]
    assert page["output_schema"]["title"] == "Out"


def test_methods_with_paths_of_their_own(served: dict[str, Process]) -> None:
    process = served["openai_like"]
    assert process.ask("POST", "/v1/chat/completions", {"model": "m"}).json == {"choices": [], "asked": "m"}
    streamed = process.ask("POST", "/v1/chat/completions", {"stream": True}, user_agent="OpenAI/Python")
    assert streamed.body == b'data: {"n": 1}\n\ndata: [DONE]\n\n'
    assert process.ask("POST", "/v1/messages", {}).json == {"type": "message"}
    refused = process.ask("POST", "/v1/embeddings", {})
    assert (refused.status, refused.fault, refused.body) == (409, ("04", "700"), b"no")


def test_a_predict_that_reads_the_request_itself(served: dict[str, Process]) -> None:
    answer = served["request_only"].predict(b"not json", content_type="text/plain")
    assert answer.json == {"bytes": 8, "kind": "text/plain"}


def test_binary(served: dict[str, Process]) -> None:
    sent = {"array": np.arange(6, dtype=np.float32).reshape(2, 3), "when": datetime(2026, 1, 2, 3)}
    kind = "application/octet-stream"
    answer = served["arrays"].predict(to_binary(sent), content_type=kind)
    assert answer.headers["content-type"] == kind
    found = from_binary(answer.body)
    np.testing.assert_array_equal(found["sum"], np.array([3, 5, 7], np.float32))
    assert (found["when"], found["one"]) == (sent["when"], np.float32(0.5))


def test_numpy_in_json(served: dict[str, Process]) -> None:
    assert served["arrays"].predict({"array": [[1, 2], [3, 4]]}).json == {"sum": [4, 6], "when": None, "one": 0.5}


def test_pickles_are_not_read(served: dict[str, Process]) -> None:
    pickled = msgspec.msgpack.encode(
        {"array": {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"x"}}
    )
    answer = served["arrays"].predict(pickled, content_type="application/octet-stream")
    assert (answer.status, answer.fault) == (400, ("04", "700"))


def test_a_model_that_is_not_healthy(served: dict[str, Process]) -> None:
    process = served["sick"]
    assert process.ask("GET", "/v1/models/model/loaded").status == 200
    answer = process.ask("GET", "/v1/models/model")
    assert (answer.status, answer.fault) == (503, ("04", "600"))
    assert process.ask("GET", "/ready").json["phase"] == "unhealthy"


def test_load_is_tried_again(served: dict[str, Process]) -> None:
    assert served["second_try"].predict({}).json == {"tries": 2}


def test_no_more_slots(served: dict[str, Process]) -> None:
    process = served["slots"]
    held = [process.connect() for _ in range(2)]
    for connection in held:
        connection.request("POST", "/v1/models/model:predict", "1")
    while process.ask("POST", "/v1/chat/completions", {"do": "look"}).json["running"] < 2:
        continue
    refused = process.predict(1)
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    process.ask("POST", "/v1/chat/completions", {"do": "open"})
    assert [connection.getresponse().read() for connection in held] == [b'"done"', b'"done"']
    for connection in held:
        connection.close()


def test_a_load_that_fails_ends_the_process_with_its_reason() -> None:
    process = Process(FOLDERS / "never_loads", NUM_LOAD_RETRIES_TRUSS="0")
    assert process.ask("GET", "/").json is True
    while (ready := process.ask("GET", "/ready").json)["phase"] != "failed":
        continue
    assert "RuntimeError: no such weights" in ready["reason"]
    refused = process.predict(1)
    assert (refused.status, refused.fault) == (503, ("04", "600"))
    assert refused.json["error"].startswith("Model with name model is not ready.")
    code, said = process.stop()
    assert code == 1
    assert said.splitlines()[-1].endswith("RuntimeError: no such weights")


def test_the_replicas_contract(served: dict[str, Process]) -> None:
    process = served["plain"]
    assert process.announced.keys() == {"url", "events", "epoch", "pid"}
    assert process.ask("GET", "/live").json == {"live": True, "epoch": process.announced["epoch"]}
    assert process.ask("GET", "/ready").json["ready"] is True
    assert process.ask("GET", "/health").json["status"] == "ready"
    assert process.ask("GET", "/snapshot").json["phase"] == "ready"
    assert b"colonnade_replica_phase" in process.ask("GET", "/metrics").body
    (card,) = process.ask("GET", "/v1/models").json["data"]
    assert (card["id"], card["kind"]) == ("plain", "package")


def test_it_leaves_when_asked_and_when_its_parent_goes() -> None:
    asked, left = Process(FOLDERS / "typed"), Process(FOLDERS / "typed")
    assert asked.stop()[0] == 0
    assert left.child.stdin is not None
    left.child.stdin.close()
    assert left.child.wait(timeout=20) == 0
    assert left.child.stdout is not None
    assert left.child.stderr is not None
    left.child.stdout.close()
    left.child.stderr.close()
