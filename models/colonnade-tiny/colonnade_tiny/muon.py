"""Muon: momentum whose update is made orthogonal. On matrices it learns in fewer steps than AdamW."""

import torch

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonal(update: torch.Tensor) -> torch.Tensor:
    """The nearest matrix with singular values near one, by Newton-Schulz iteration; works on stacks of matrices."""
    first, second, third = COEFFICIENTS
    wide = update.mT if update.size(-2) > update.size(-1) else update
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = wide @ wide.mT
        wide = first * wide + (second * square + third * square @ square) @ wide
    return wide.mT if update.size(-2) > update.size(-1) else wide


class Muon(torch.optim.Optimizer):
    """SGD with Nesterov momentum, each matrix's update made orthogonal; matrices of one shape go together."""

    def __init__(
        self, parameters: list[torch.nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every matrix that has a gradient; a parameter may be a stack of matrices."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for parameter in (each for each in group["params"] if each.grad is not None):
                shapes.setdefault(parameter.shape, []).append(parameter)
            for same in shapes.values():
                self._update(same, group)

    def _update(self, same: list[torch.nn.Parameter], group: dict[str, float]) -> None:
        updates = orthogonal(torch.stack([self._momentum(parameter, group["momentum"]) for parameter in same]))
        scale = 0.2 * max(updates.shape[-2:]) ** 0.5
        for parameter, update in zip(same, updates, strict=True):
            parameter.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-group["lr"] * scale)

    def _momentum(self, parameter: torch.nn.Parameter, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        buffer = state.setdefault("buffer", torch.zeros_like(parameter))
        assert parameter.grad is not None
        buffer.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(buffer, momentum)
