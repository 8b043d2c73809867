"""The body is the model's own business."""

from starlette.requests import Request


class Model:
    async def predict(self, request: Request):
        return {"bytes": len(await request.body()), "kind": request.headers["content-type"]}
