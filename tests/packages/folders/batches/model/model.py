"""Doubles four at a time."""

from pydantic import BaseModel

from colonnade.packages.batching import batched


class Asked(BaseModel):
    value: int


class Model:
    @batched(max_batch_size=4, max_wait=60)
    def predict(self, inputs: list[Asked]) -> list[dict]:
        return [{"doubled": each.value * 2, "beside": len(inputs)} for each in inputs]
