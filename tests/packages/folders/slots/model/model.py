"""Two at a time, and no queue."""

import asyncio


class Model:
    def __init__(self):
        self.open = asyncio.Event()
        self.running = 0

    async def chat_completions(self, inputs):
        if inputs["do"] == "open":
            self.open.set()
        return {"running": self.running}

    async def predict(self, inputs):
        self.running += 1
        await self.open.wait()
        return "done"
