"""What is to be answered later: waits for a word through a FIFO, fails as often as told, counts."""

import asyncio
import os


class Model:
    def __init__(self):
        self.tries = {}
        self.order = []

    async def predict(self, inputs):
        name = inputs["name"]
        self.tries[name] = self.tries.get(name, 0) + 1
        self.order.append(name)
        if "wait" in inputs:
            await word_through(inputs["wait"])
        if self.tries[name] <= inputs.get("failures", 0):
            raise RuntimeError("not yet")
        match inputs.get("gives"):
            case "nan":
                return float("nan")
            case "a ring":
                ring = []
                ring.append(ring)
                return ring
            case "a stream":
                return (each for each in "ab")
        return {"name": name, "tries": self.tries[name], "order": self.order}


async def word_through(fifo):
    """Without a thread, so that it can be cancelled."""
    heard = asyncio.Event()
    end = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    asyncio.get_running_loop().add_reader(end, heard.set)
    try:
        await heard.wait()
    finally:
        asyncio.get_running_loop().remove_reader(end)
        os.close(end)
