"""preprocess, predict, postprocess: sync, async and sync; with the request as a second argument."""

from fastapi import HTTPException, Request
from fastapi.responses import JSONResponse


class Model:
    def preprocess(self, inputs):
        return [*inputs, "pre"]

    async def predict(self, inputs, request: Request):
        if "http" in inputs:
            raise HTTPException(status_code=418, detail={"short": "stout"})
        if "response" in inputs:
            return JSONResponse({"mine": True})
        return [*inputs, request.headers["x-word"]]

    def postprocess(self, output):
        return [*output, "post"]

    async def is_healthy(self):
        return True
