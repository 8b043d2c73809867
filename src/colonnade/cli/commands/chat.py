"""`colonnade chat`: a conversation with a model, on a terminal or through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(
    cls=Command,
    examples=(
        "colonnade chat  # a conversation",
        'colonnade chat "Book Maria Lopez on Tuesday at 3pm"  # one question',
        "colonnade chat --url http://10.0.0.5:8080 --key cln_... < questions.txt  # one message a line",
    ),
)
@click.argument("text", required=False)
@click.option("--model", "-m", metavar="NAME", help="Model to talk to [the first that is served].")
@click.option("--url", metavar="URL", help="Server to talk to [the `up` that runs].")
@click.option("--key", metavar="KEY", help="API key [the local one].")
@click.option("--system", metavar="TEXT", default="", help="What the model is told first.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Longest answer [the server's default].")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 takes the likeliest.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="The same seed gives the same answer.")
@click.pass_obj
def chat(session: Session, text: str | None, **options: Any) -> None:
    """Talk to a model.

    On a terminal it is a conversation: /reset forgets it, /quit or Ctrl-D ends it, Ctrl-C stops an answer. With TEXT it
    is one question; without a terminal each line of standard input is a message of one conversation. Answers go to
    stdout, with --json one object a line.
    """
    from colonnade.cli.conversation import Conversation
    from colonnade.cli.target import find

    server = find(session, options["url"], options["key"])
    model = server.model(options["model"])
    chosen = {name: options[name] for name in ("max_tokens", "temperature", "seed") if options[name] is not None}
    talk = Talk(session, server.api, {"model": model, **chosen}, Conversation(options["system"]))
    if text is not None:
        talk.say(text)
    elif sys.stdin.isatty():
        session.talk(f"{model} at {server.url}; /help")
        talk.converse()
    else:
        talk.read(sys.stdin)


@dataclass
class Talk:
    """One conversation with one model. `options`: the fields of every request but its messages."""

    session: Session
    api: Any
    options: dict[str, Any]
    conversation: Any

    def read(self, lines: Iterator[str]) -> None:
        for line in lines:
            if line.strip():
                self.say(line)

    def converse(self) -> None:
        """Until /quit or the end of input. Errors are said, and the conversation goes on."""
        from colonnade.wire.errors import ColonnadeError

        with_history()
        while (line := _line()) is not None:
            try:
                if not self._obey(line):
                    return
            except ColonnadeError as error:
                self.session.talk(f"error: {error.message}" + (f"\n hint: {error.hint}" if error.hint else ""))
            except KeyboardInterrupt:
                self.session.talk("\n(stopped; the question is forgotten)")

    def say(self, text: str) -> None:
        """One question and its answer. Left half-way, the conversation is as if it had not been asked."""
        messages = self.conversation.ask(text)
        try:
            answer = self._stream(messages)
        except BaseException:
            self.conversation.take_back()
            raise
        self.conversation.answered(answer["text"])
        if self.session.as_json:
            self.session.json(answer)
        else:
            click.echo()

    def _obey(self, line: str) -> bool:
        """False to end."""
        from colonnade.cli.conversation import HELP, meaning

        match meaning(line):
            case "say":
                self.say(line)
            case "reset":
                self.conversation.reset()
                self.session.talk("(forgotten)")
            case "quit":
                return False
            case "help":
                self.session.talk(HELP)
            case "unknown":
                self.session.talk(f"no such command; {HELP}; // says a line that starts with /")
            case "nothing":
                return True
        return True

    def _stream(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        from colonnade.cli.answer import Answer

        answer = Answer()
        asked = {**self.options, "messages": messages, "stream": True, "stream_options": {"include_usage": True}}
        for event in self.api.stream("/v1/chat/completions", asked):
            piece = answer.take(event)
            if piece and not self.session.as_json:
                click.echo(piece, nl=False)
        return answer.whole()


def with_history() -> None:
    """Line editing and history in `input`; a Python without readline reads plain lines."""
    import importlib.util

    if importlib.util.find_spec("readline"):
        import readline

        readline.parse_and_bind("set enable-bracketed-paste on")


def _line() -> str | None:
    """None at the end of input; Ctrl-C at the prompt clears the line."""
    try:
        return input("you> ")
    except EOFError:
        click.echo(err=True)
        return None
    except KeyboardInterrupt:
        click.echo(err=True)
        return ""
