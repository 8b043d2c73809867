"""Ray Serve beside ours: three deployments, each in a worker of its own, called by handles as in an application.

Run by `chain_hop_beside.py` with a Python that has ray[serve]. A line on standard input is an order, a line on standard
output its answer.
"""

import json
import os
import sys
from time import perf_counter

import numpy as np
import ray  # pyright: ignore[reportMissingImports]
from ray import serve  # pyright: ignore[reportMissingImports]


class Echo:
    async def run_remote(self, text: str) -> str:
        return text


class Sink:
    async def run_remote(self, array: np.ndarray) -> int:
        return array.nbytes


class Timer:
    def __init__(self, echo, sink) -> None:
        self._echo = echo
        self._sink = sink

    async def run_remote(self, what: str, calls: int, size: int) -> list[float]:
        text, array = "x" * size, np.zeros(size, np.uint8)
        found: list[float] = []
        for _ in range(calls):
            began = perf_counter()
            if what == "text":
                await self._echo.run_remote.remote(text)
            else:
                await self._sink.run_remote.remote(array)
            found.append(perf_counter() - began)
        return found


def main() -> None:
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=256 << 20)
    try:
        serve.start(proxy_location="Disabled")
        timer = serve.run(
            serve.deployment(Timer).bind(serve.deployment(Echo).bind(), serve.deployment(Sink).bind()),
            route_prefix=None,
        )
        print("ready", file=said, flush=True)
        for line in sys.stdin:
            print(json.dumps(timer.run_remote.remote(**json.loads(line)).result()), file=said, flush=True)
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
