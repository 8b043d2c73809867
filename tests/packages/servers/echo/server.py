"""A server of its own: says what it was asked, streams, forks a child that leaves its group, and ends when told to."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

TOLD = dict(pairwise(sys.argv[1:]))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b"one ", b"two"):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.say(f"{self.path} {os.getpid()} {TOLD['--greeting']}".encode(), 200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if body == b"die":
            sys.stderr.write("told to die\n")
            sys.stderr.flush()
            os._exit(3)
        if body == b"fork":
            body = str(subprocess.Popen(["sleep", "600"], start_new_session=True).pid).encode()
        self.say(self.path.encode() + b" " + body, 418 if body == b"teapot" else 200)

    def say(self, body, status):
        self.send_response(status)
        self.send_header("Content-Type", "text/x-own")
        self.send_header("X-Own", self.headers.get("X-Asked", "none"))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(TOLD["--port"])), Handler).serve_forever()
