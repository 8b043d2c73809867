"""Annotated inputs and outputs."""

from pydantic import BaseModel


class In(BaseModel):
    prompt: str
    sizes: list[int] = []


class Out(BaseModel):
    answer: str
    total: int


class Model:
    def predict(self, inputs: In) -> Out:
        return Out(answer=inputs.prompt.upper(), total=sum(inputs.sizes))
