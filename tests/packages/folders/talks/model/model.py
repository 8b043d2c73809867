"""A websocket instead of predict."""


class Model:
    async def websocket(self, websocket):
        while (text := await websocket.receive_text()) != "stop":
            if text == "fail":
                raise ValueError("what was said")
            await websocket.send_text(text.upper())
