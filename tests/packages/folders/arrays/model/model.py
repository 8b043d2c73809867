"""Binary in, binary out."""

import numpy as np


class Model:
    def predict(self, inputs):
        return {"sum": np.asarray(inputs["array"]).sum(axis=0), "when": inputs.get("when"), "one": np.float32(0.5)}
