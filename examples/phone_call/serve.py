"""The phone in a browser: `python examples/phone_call/serve.py [--port 8090]`, then open its URL.

Starts the shipped model, the chain and the page, all on 127.0.0.1, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from phone.house import phone

HERE = Path(__file__).parent


class Page(SimpleHTTPRequestHandler):
    def __init__(self, *args: Any, chain: str, **given: Any) -> None:
        self._chain = chain
        super().__init__(*args, directory=str(HERE / "page"), **given)

    def do_GET(self) -> None:
        if self.path != "/chain.json":
            super().do_GET()
            return
        body = json.dumps({"url": self._chain}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--book", default="appointments.db", help="the SQLite file of the appointments")
    asked = parser.parse_args()
    with phone(asked.book) as chain:
        server = ThreadingHTTPServer(("127.0.0.1", asked.port), partial(Page, chain=chain["url"]))
        sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            server.server_close()


if __name__ == "__main__":
    main()
