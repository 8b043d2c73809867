"""A replica without a model: announces, serves /live, /ready and /health, and misbehaves as told.

--crash-at-start   says why on stderr and exits 3 before it announces
--never-ready      /ready stays 503
--ready-after F    /ready is 503 until the file F exists
--deaf             ignores SIGTERM
--slow-stop F      after SIGTERM goes on until the file F exists
--child            has a child process in its group, as a replica has its engine; GET /child gives its pid
--fails            answers every POST with 500; else with a small answer
--stall-on F       /ready and /health are 503 while the file F exists
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HELD = 64 << 20
"""Bytes that GET /hold makes it hold."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--epoch", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--slow-stop", type=Path)
    parser.add_argument("--ready-after", type=Path)
    parser.add_argument("--stall-on", type=Path)
    for switch in ("--crash-at-start", "--never-ready", "--deaf", "--child", "--fails"):
        parser.add_argument(switch, action="store_true")
    return parser.parse_known_args()[0]


class Face(BaseHTTPRequestHandler):
    options: argparse.Namespace
    child: subprocess.Popen[bytes] | None = None
    held = b""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, body = self.answer()
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"] or 0))
        text = b'{"error": {"message": "told to fail"}}' if self.options.fails else b'{"said": "hello"}'
        self.send_response(500 if self.options.fails else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def answer(self) -> tuple[int, object]:
        stalled = self.options.stall_on is not None and self.options.stall_on.exists()
        waits = self.options.ready_after is not None and not self.options.ready_after.exists()
        if self.path == "/child" and self.child is not None:
            return 200, self.child.pid
        if self.path == "/hold":
            Face.held = b"x" * HELD
            return 200, len(self.held)
        if self.path == "/cuda":
            return 200, [os.environ.get("CUDA_DEVICE_ORDER"), os.environ.get("CUDA_VISIBLE_DEVICES")]
        if self.path == "/live":
            return 200, {}
        if stalled:
            return 503, {"status": "stalled", "reason": "", "seconds_without_step": 30.5}
        if self.path == "/ready" and (self.options.never_ready or waits):
            return 503, {"ready": False, "phase": "starting", "reason": "loading"}
        return 200, {"status": "ready"}

    def log_message(self, format: str, *args: object) -> None:
        """The tests read the log: keep it quiet."""


class Quiet(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Who asked may be killed in the middle: that is not for the log."""


def main() -> None:
    options = Face.options = arguments()
    if options.crash_at_start:
        sys.stderr.write("stand-in: told to crash\n")
        raise SystemExit(3)
    told = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.deaf else lambda *_: told.set())
    if options.child:
        Face.child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL)
    server = Quiet((options.host, 0), Face)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://{options.host}:{server.server_address[1]}"
    sys.stdout.write(json.dumps({"url": url, "events": "", "epoch": options.epoch, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    threading.Thread(target=life_line, args=(told,), daemon=True).start()
    told.wait()
    while options.slow_stop is not None and not options.slow_stop.exists():
        threading.Event().wait(0.02)


def life_line(told: threading.Event) -> None:
    """As the real one does: the end of its standard input is the end of its parent."""
    select.select([sys.stdin], [], [])
    if not os.read(0, 1):
        told.set()


if __name__ == "__main__":
    main()
