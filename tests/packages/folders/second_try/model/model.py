"""Loads when it is asked again."""


class Model:
    def __init__(self, **kwargs):
        self.tries = 0

    def load(self):
        self.tries += 1
        if self.tries == 1:
            raise OSError("not yet")

    def predict(self):
        return {"tries": self.tries}
