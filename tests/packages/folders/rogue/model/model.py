"""Does everything that a package should not."""

import asyncio
import ctypes
import os
import sys
import threading


class Model:
    def __init__(self):
        self.held = []

    def load(self):
        if os.environ.get("ROGUE") == "exits in load":
            sys.stderr.write("I go while I load\n")
            sys.stderr.flush()
            os._exit(7)
        if os.environ.get("ROGUE") == "hangs in load":
            threading.Event().wait()

    def predict(self, inputs):
        match inputs["how"]:
            case "well":
                return "well"
            case "exit":
                sys.stderr.write("I go now\n")
                sys.stderr.flush()
                os._exit(9)
            case "crash":
                ctypes.string_at(0)
            case "leak":
                self.held += [b"x" * (1 << 20) for _ in range(512)]
                threading.Event().wait()
            case "hang":
                threading.Event().wait()
            case "silent stream":
                return self.silent()
            case "garbage":
                return {"object": object(), 3: {1, 2}}
            case "nan":
                return float("nan")
            case "stubborn":
                return self.stubborn()
            case "full":
                with open("/dev/full", "wb") as disk:
                    disk.write(b"x" * 100_000)

    async def silent(self):
        yield "a"
        await asyncio.Event().wait()

    async def stubborn(self):
        yield "a"
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
