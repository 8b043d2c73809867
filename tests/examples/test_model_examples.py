"""The packages of examples/ that are no LLMs, as real processes: pictures and speech."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from colonnade.packages.check import check

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def running(name: str, home: Path) -> Iterator[str]:
    """Its URL, once it is ready."""
    argv = [sys.executable, "-m", "colonnade.replica.package", "--package", str(EXAMPLES / name)]
    environ = os.environ | {"COLONNADE_HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
    assert child.stdout is not None
    try:
        url = json.loads(child.stdout.readline())["url"]
        while ask(url + "/ready")[0] != 200:
            continue
        yield url
    finally:
        child.communicate(timeout=60)


def ask(url: str, inputs: Any = None) -> tuple[int, Any]:
    body = None if inputs is None else json.dumps(inputs).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("pictures", tmp_path_factory.mktemp("home")) as url:
        yield f"{url}/v1/models/pictures:predict"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running("speech", tmp_path_factory.mktemp("home")) as url:
        yield f"{url}/v1/models/speech:predict"


def encoded(picture: Image.Image, form: str = "PNG") -> str:
    out = io.BytesIO()
    picture.save(out, form)
    return base64.b64encode(out.getvalue()).decode()


def painted() -> Image.Image:
    """Two thirds red, one third blue, with noise that no blur would leave."""
    noise = np.random.default_rng(7).integers(0, 40, (300, 450, 3))
    pixels = np.full((300, 450, 3), (200, 10, 10)) + noise
    pixels[:, 300:] = (10, 10, 200) + noise[:, 300:]
    return Image.fromarray(pixels.astype(np.uint8))


def bits(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


@pytest.mark.parametrize("name", ["pictures", "speech"])
def test_they_pass_their_check(name: str) -> None:
    verdict = check(EXAMPLES / name)
    assert verdict.passed, verdict.faults


def test_a_picture_in_numbers(pictures: str) -> None:
    status, told = ask(pictures, {"picture": encoded(painted()), "side": 30, "colours": 2})
    assert status == 200
    assert (told["width"], told["height"]) == (450, 300)
    small = Image.open(io.BytesIO(base64.b64decode(told["thumbnail"])))
    assert small.size == (30, 20)
    first, second = (tuple(bytes.fromhex(each[1:])) for each in told["colours"])
    assert first[0] > 180 > 60 > first[2]
    assert second[2] > 180 > 60 > second[0]


def test_what_looks_alike_has_nearly_the_same_bits(pictures: str) -> None:
    one = painted()
    told = [
        ask(pictures, {"picture": encoded(each, form)})[1]
        for each, form in ((one, "PNG"), (one.resize((90, 60)), "JPEG"), (one.rotate(90), "PNG"))
    ]
    assert bits(told[0]["likeness"], told[1]["likeness"]) < bits(told[0]["likeness"], told[2]["likeness"])
    assert told[0]["sharpness"] > 2 * told[1]["sharpness"]


def test_many_callers_and_one_who_sends_no_picture(pictures: str) -> None:
    asked = [{"picture": encoded(Image.new("RGB", (64, 64), (n * 9, 0, 0)))} for n in range(12)]
    asked[5] = {"picture": base64.b64encode(b"no picture at all").decode()}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda each: ask(pictures, each), asked))
    assert [status for status, _ in answers] == [200] * 5 + [400] + [200] * 6
    for index, (status, told) in enumerate(answers):
        if status == 200:
            assert told["colours"] == [f"#{index * 9:02x}0000"]
            assert told["sharpness"] == 0


PHRASES = ["good morning", "book a table", "see you tomorrow", "where is the station"]


@pytest.mark.parametrize("phrase", PHRASES)
def test_what_it_says_it_hears(speech: str, phrase: str) -> None:
    status, said = ask(speech, {"say": phrase})
    assert status == 200
    assert ask(speech, {"hear": said["sound"], "phrases": PHRASES}) == (200, {"text": phrase})


@pytest.mark.parametrize("inputs", [{}, {"say": "a", "hear": "b"}, {"hear": "b"}, {"hear": "b", "phrases": ["A;"]}])
def test_what_cannot_be_said_or_heard(speech: str, inputs: dict[str, Any]) -> None:
    assert ask(speech, inputs)[0] == 400
