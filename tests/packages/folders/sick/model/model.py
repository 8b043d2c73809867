"""Loads, and is not healthy."""


class Model:
    def predict(self, inputs):
        return inputs

    def is_healthy(self):
        raise RuntimeError("no heart")
