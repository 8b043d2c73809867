"""Sync and async generators, and a predict that returns one of them."""

import asyncio

CLOSED = []


class Model:
    def predict(self, inputs):
        if inputs == "closed":
            return CLOSED
        return self.sync(inputs) if inputs["kind"] == "sync" else self.later(inputs)

    def sync(self, inputs):
        for index in range(inputs["count"]):
            yield f"{index} "
        if inputs.get("fail"):
            raise ValueError("half way")

    async def later(self, inputs):
        try:
            if inputs.get("fail") == "first":
                raise ValueError("before anything")
            for index in range(inputs["count"]):
                yield f"é{index} ".encode()
            if inputs.get("hang"):
                await asyncio.Event().wait()
        finally:
            CLOSED.append(inputs["kind"])
