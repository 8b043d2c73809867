"""Requests per CPU second of a gateway: `python tests/gateway/throughput.py [SECONDS] [CONNECTIONS]`.

A gateway with keys on, between a worker and a closed-loop client written in C (`raw_load.c`, built by `cc`).
The gateway is pinned to one core and the other two to another; its CPU time is read from /proc. Prints one JSON
object. A script, not a test: the figure depends on the machine, so it is reported.
"""

from __future__ import annotations

import hmac
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from colonnade.wire.routes import KeyRecord, Route, Routes

KEY = "ck-" + "k" * 43
HERE = Path(__file__).parent


def request() -> bytes:
    """A chat request: a system prompt of 500 characters and a short question."""
    messages = [{"role": "system", "content": "s" * 500}, {"role": "user", "content": "How are you today?"}]
    body = msgspec.json.encode({"model": "tiny", "messages": messages, "max_tokens": 16})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {KEY}\r\nUser-Agent: throughput\r\nAccept: */*\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def routes(port: str) -> Routes:
    digest = hmac.digest(bytes(32), KEY.encode(), "sha256").hex()
    return Routes(
        revision=1,
        routes=(Route("tiny-0", "w0", f"http://127.0.0.1:{port}", "tiny"),),
        keys=(KeyRecord("bench", digest, "acme"),),
        pepper=bytes(32).hex(),
        models=("tiny",),
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(*command: str, core: int) -> subprocess.Popen[str]:
    """A child that says one line when it is there."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    os.sched_setaffinity(child.pid, {core})
    return child


def first_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def ask(tool: str, port: str, connections: str, seconds: str) -> list[float]:
    """Requests, and microseconds at p50 and p99."""
    core = sorted(os.sched_getaffinity(0))[-1]
    command = ["taskset", "-c", str(core), tool, "client", port, connections, seconds]
    said = subprocess.run(command, input=request(), capture_output=True, check=True).stdout
    return [float(word) for word in said.split()]


def main() -> None:
    seconds, connections = (*sys.argv[1:], "10", "64")[:2] if len(sys.argv) != 2 else (sys.argv[1], "64")
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        tool, file = f"{folder}/raw_load", Path(folder, "routes.json")
        subprocess.run(["cc", "-O2", "-o", tool, str(HERE / "raw_load.c")], check=True)
        worker = start(tool, "worker", core=cores[-1])
        worker_port = first_line(worker)
        file.write_bytes(msgspec.json.encode(routes(worker_port)))
        flags = ("--port", "0", "--routes", str(file))
        gateway = start(sys.executable, "-m", "colonnade.gateway", *flags, core=cores[0])
        port = msgspec.json.decode(first_line(gateway))["url"].rpartition(":")[2]
        try:
            ask(tool, port, connections, "1")  # warm
            cpu = cpu_seconds(gateway.pid)
            done, p50, p99 = ask(tool, port, connections, seconds)
            spent = cpu_seconds(gateway.pid) - cpu
            direct = ask(tool, worker_port, connections, "1")[0]
        finally:
            gateway.terminate()
            gateway.wait()
            worker.kill()
            worker.wait()
    report = {
        "requests_per_s": round(done / float(seconds)),
        "requests_per_gateway_cpu_s": round(done / spent),
        "gateway_cpu_share": round(spent / float(seconds), 2),
        "p50_us": p50,
        "p99_us": p99,
        "direct_requests_per_s": round(direct),
    }
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


if __name__ == "__main__":
    main()
