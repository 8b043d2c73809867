"""An engine of its own inside: it passes on what it is asked, in each of the ways."""

from colonnade.llm import Engine


class Model:
    def load(self):
        self.engine = Engine("colonnade-tiny", threads=1)

    async def predict(self, inputs):
        path, body = inputs["path"], inputs["body"]
        match inputs["way"]:
            case "awaited":
                return await self.engine.aio.ask(path, body)
            case "streamed":
                return (f"{event['choices'][0]['text']}|" async for event in self.engine.aio.events(path, body))
            case "blocked":
                return self.engine.ask(path, body)
            case _:
                return [event["choices"][0]["text"] for event in self.engine.events(path, body)]
