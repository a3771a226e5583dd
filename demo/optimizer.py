"""Muon for the weight matrices, AdamW for everything else, and a running average of the weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients, https://kellerjordan.github.io/posts/muon/


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates of the matrices (Jordan et al., 2024)."""

    def __init__(self, params: list[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update each matrix from its gradient; matrices of the same shape are processed together."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
            for param in group["params"]:
                if param.grad is None:
                    continue
                if "momentum" not in self.state[param]:
                    self.state[param]["momentum"] = torch.zeros_like(param)
                buffer = self.state[param]["momentum"]
                buffer.lerp_(param.grad, 1 - group["momentum"])
                update = param.grad.lerp(buffer, group["momentum"])
                wide = update if update.shape[0] <= update.shape[1] else update.T
                shapes.setdefault(tuple(wide.shape), []).append((param, wide))
            for same_shape in shapes.values():
                updates = orthogonal(torch.stack([wide for _, wide in same_shape]))
                for (param, wide), update in zip(same_shape, updates, strict=True):
                    scale = max(1.0, param.shape[0] / param.shape[1]) ** 0.5
                    param.mul_(1 - group["lr"] * group["weight_decay"])
                    oriented = update if wide.shape == param.shape else update.T
                    param.add_(oriented, alpha=-group["lr"] * scale)


def orthogonal(matrices: Tensor, steps: int = 5) -> Tensor:
    """Approximately the nearest orthogonal matrices of (count, rows <= columns), by a Newton-Schulz iteration."""
    a, b, c = NEWTON_SCHULZ
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def split_parameters(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """(matrices for Muon, the rest for AdamW): embedding, head and convolution kernels go to AdamW."""
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, param in model.named_parameters():
        hidden = param.ndim == 2 and "embed_tokens" not in name and not name.startswith("score")
        (matrices if hidden else rest).append(param)
    return matrices, rest


class Average:
    """An exponential moving average of a model's weights, with a faster decay in the first steps."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = [param.detach().clone() for param in model.parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the weights after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [param.detach() for param in model.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Write the averaged weights into `model`."""
        for param, mean in zip(model.parameters(), self.shadow, strict=True):
            param.copy_(mean)
