"""One file over HTTP, on from where an earlier try ended.

huggingface_hub's own download begins anew in each process, and gives up what it holds of a chunk of 10 MB when a
connection ends; weights are large, and a start must not lose what has come.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from huggingface_hub import constants, get_session
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from colonnade.engine.hub.faults import HTTPError

TRIES = 5
"""In a row that bring nothing."""
PAUSE = 1.0
"""Seconds before the second of them; doubles."""


class Transfer:
    """`asked`: the address at the hub; `location`: where the hub says that the content is. `told` hears of bytes as
    they are written, a negative number where some were thrown away."""

    def __init__(self, asked: str, location: str, size: int, told: Callable[[int], None]) -> None:
        self._location = location
        self._size = size
        self._told = told
        self._headers = build_hf_headers() | {"accept-encoding": "identity"}
        if urlsplit(location).netloc != urlsplit(asked).netloc:  # a token is for the hub alone
            self._headers.pop("authorization", None)

    def into(self, path: Path) -> None:
        """Until the file is whole. Raises what huggingface_hub raises, and OSError."""
        with path.open("ab") as out:
            if out.tell() > self._size:
                out.truncate(0)
            self._told(out.tell())
            vain = 0
            while (had := out.tell()) < self._size:
                try:
                    self._rest(out, had)
                except HTTPError as error:
                    vain = 0 if out.tell() > had else vain + 1
                    refused = isinstance(error, HfHubHTTPError) and error.response.status_code < 500
                    if refused or vain == TRIES:
                        raise
                    time.sleep(PAUSE * 2 ** (vain - 1) if vain else 0)

    def _rest(self, out: BinaryIO, had: int) -> None:
        headers = self._headers | ({"range": f"bytes={had}-"} if had else {})
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream(
            "GET", self._location, headers=headers, timeout=timeout, follow_redirects=True
        ) as response:
            hf_raise_for_status(response)
            if had and response.status_code != 206:  # the server knows no ranges, and sends the whole
                out.truncate(0)
                self._told(-had)
            for piece in response.iter_raw():
                out.write(piece)
                self._told(len(piece))
        if out.tell() != self._size:
            raise HTTPError(f"{self._location} sent {out.tell()} of {self._size} bytes")
