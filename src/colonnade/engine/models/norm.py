"""Root-mean-square normalisation (Zhang and Sennrich, arXiv 1910.07467)."""

from __future__ import annotations

from colonnade.engine.kernels.ops import Kernels, Ops, Value, Weight


class RmsNorm:
    def __init__(self, weight_D: Weight, epsilon: float, kernels: Kernels) -> None:
        self._weight_D = kernels.vector(weight_D)
        self._epsilon = epsilon

    def __call__(self, ops: Ops, x: Value) -> Value:
        return ops.rms_norm(x, self._weight_D, self._epsilon)
