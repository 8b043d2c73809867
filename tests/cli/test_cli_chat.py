"""Chat against a server that speaks the contract; its pure parts by themselves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
import sse_server
from command_line import Run
from hypothesis import given
from hypothesis import strategies as st
from sse_server import KEY, Server

from colonnade.cli.answer import Answer
from colonnade.cli.api import Api, from_answer, from_envelope
from colonnade.cli.commands.chat import Talk
from colonnade.cli.conversation import Conversation, meaning
from colonnade.cli.session import Session
from colonnade.cli.target import plain
from colonnade.wire import errors
from colonnade.wire.errors import ColonnadeError
from colonnade.wire.stream import Event


@pytest.fixture
def server() -> Iterator[Server]:
    """On a loop in a thread of its own, since commands block."""
    started: list[tuple[Server, asyncio.AbstractEventLoop, asyncio.Event]] = []
    ready = threading.Event()

    async def main() -> None:
        async with sse_server.serving() as server:
            stop = asyncio.Event()
            started.append((server, asyncio.get_running_loop(), stop))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert ready.wait(10)
    server, loop, stop = started[0]
    yield server
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)


def at(server: Server) -> list[str]:
    return ["chat", "--url", server.url, "--key", KEY]


def test_one_question(run: Run, server: Server) -> None:
    result = run(*at(server), "Book me in", "--system", "Be kind", "--max-tokens", "9", "--seed", "3")
    assert (result.exit_code, result.stdout) == (0, "hello there\n")
    body = server.bodies[0]
    assert body["messages"] == [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Book me in"}]
    assert (body["model"], body["max_tokens"], body["seed"], body["stream"]) == ("m", 9, 3, True)


def test_one_message_a_line_is_one_conversation(run: Run, server: Server) -> None:
    result = run(*at(server), input="hi\n\nand you?\n")
    assert result.stdout == "hello there\nhello there\n"
    assert [m["content"] for m in server.bodies[1]["messages"]] == ["hi", "hello there", "and you?"]


def test_json(run: Run, server: Server) -> None:
    result = run(*at(server), "--json", input="hi\nho\n")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["hello there"] * 2
    assert lines[0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("behave", "code", "word"), [("overloaded", 4, "too many"), ("lost", 4, "it died"), ("cut", 4, "broke off")]
)
def test_failures(run: Run, server: Server, behave: str, code: int, word: str) -> None:
    server.behave = behave
    result = run(*at(server), "hi")
    assert result.exit_code == code
    assert word in result.stderr


def test_a_wrong_key_and_no_model(run: Run, server: Server) -> None:
    assert run("chat", "--url", server.url, "--key", "x", "hi").exit_code == 1
    server.served = []
    result = run(*at(server), "hi")
    assert result.exit_code == 1
    assert "serves no model" in result.stderr


def test_bench_against_it(run: Run, server: Server, tmp_path: object) -> None:
    words = ["bench", "--url", server.url, "--key", KEY, "--requests", "3", "--rate", "100", "--no-probe", "--json"]
    result = run(*words, "-")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["requests"]["ok"] == 3
    assert "3 of 3 requests answered" in result.stderr
    to_file = run(*words, "out.json", "--slo-ttft", "5")
    assert "goodput" in to_file.stdout
    compared = run("bench", "compare", "out.json", "out.json")
    assert compared.exit_code == 0
    assert "B/A" in compared.stdout
    assert "probed" in compared.stderr
    assert json.loads(run("bench", "compare", "out.json", "out.json", "--json").stdout)["ratios"]
    server.behave = "overloaded"
    failed = run(*words, "-")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["requests"]["errors"] == {"overloaded": 3}


def test_bench_takes_one_server(run: Run, server: Server) -> None:
    words = ["bench", "--url", server.url, "--serve", "m", "--no-probe"]
    assert run(*words).exit_code == 2


def typed(server: Server, lines: list[str | type[BaseException]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a conversation on a terminal says, line by line as typed."""
    said: list[str] = []
    script = iter([*lines, EOFError])

    def prompt(_: str) -> str:
        line = next(script)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", prompt)
    session = Session()
    monkeypatch.setattr(session, "talk", said.append)
    Talk(session, Api(server.url, KEY), {"model": "m"}, Conversation()).converse()
    return said


def test_a_conversation(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = typed(server, ["hi", "", "/reset", "again", "/help", "/x", KeyboardInterrupt, "//slash"], monkeypatch)
    assert [len(body["messages"]) for body in server.bodies] == [1, 1, 3]
    assert server.bodies[-1]["messages"][-1]["content"] == "/slash"
    assert capsys.readouterr().out == "hello there\n" * 3
    assert said[0] == "(forgotten)"
    assert "/quit" in said[1]
    assert "no such command" in said[2]


def test_an_error_does_not_end_a_conversation(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.behave = "lost"
    said = typed(server, ["hi", "ho", "/quit", "never"], monkeypatch)
    assert said == ["error: it died", "error: it died"]
    assert [len(body["messages"]) for body in server.bodies] == [1, 1]


@given(st.text())
def test_every_line_means_something(line: str) -> None:
    found = meaning(line)
    assert (found == "nothing") == (not line.strip())
    if found == "say":
        conversation = Conversation()
        assert conversation.ask(line)[0]["content"] in line


@given(st.lists(st.sampled_from(["ask", "fail", "reset"])), st.text())
def test_questions_and_answers_take_turns(steps: list[str], system: str) -> None:
    conversation = Conversation(system)
    for step in steps:
        if step == "reset":
            conversation.reset()
            continue
        sent = conversation.ask("q")
        assert sent[-1]["content"] == "q"
        assert (sent[0]["role"] == "system") == bool(system)
        conversation.answered("a") if step == "ask" else conversation.take_back()
    roles = [message["role"] for message in conversation.messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_tool_calls_are_put_together() -> None:
    answer = Answer()
    parts = [
        {"index": 0, "function": {"name": "book", "arguments": '{"na'}},
        {"index": 0, "function": {"arguments": 'me": 1}'}},
    ]
    text = ""
    for part in parts:
        text += answer.take(Event(data=json.dumps({"choices": [{"delta": {"tool_calls": [part]}}]})))
    answer.take(Event(comments=["keep"]))
    answer.take(Event(data="[DONE]"))
    assert text == '\nbook {"name": 1}'
    assert answer.whole()["tool_calls"] == [{"name": "book", "arguments": '{"name": 1}'}]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidRequest),
        (401, errors.Unauthenticated),
        (418, errors.InvalidRequest),
        (503, errors.Overloaded),
    ],
)
def test_answers_become_errors(status: int, kind: type[ColonnadeError]) -> None:
    body = json.dumps(errors.InvalidRequest("m", hint="h", param="p", code="own").envelope()).encode()
    error = from_answer(status, body)
    assert type(error) is kind
    assert (error.message, error.hint, error.param, error.reason) == ("m", "h", "p", "own")
    assert type(from_answer(status, b"<html>")) is kind
    assert type(from_answer(500, b"{}")) is errors.Internal
    assert type(from_envelope("words")) is errors.Internal


def test_a_server_that_is_not_there_or_says_nothing() -> None:
    with pytest.raises(ColonnadeError) as absent:
        Api("http://127.0.0.1:9").call("GET", "/")
    assert absent.value.reason == "not_running"


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_urls(url: str) -> None:
    assert plain(url) == "http://h:1"


@pytest.mark.parametrize("url", ["h:1", "ftp://h", "http://"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(errors.BadSetting):
        plain(url)
