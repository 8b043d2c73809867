"""The methods with paths of their own."""

from starlette.responses import Response


class Model:
    def predict(self, request_body):
        return request_body

    def chat_completions(self, inputs):
        def pieces():
            yield 'data: {"n": 1}\n\n'
            yield "data: [DONE]\n\n"

        return pieces() if inputs.get("stream") else {"choices": [], "asked": inputs["model"]}

    async def embeddings(self, inputs):
        return Response("no", status_code=409)

    def messages(self):
        return {"type": "message"}
