"""Attention of timm's networks, recorded where they compute it, so that any kind is what the network uses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vitrun.models.timm_wrapper import TimmNetwork

DROPOUT = "attn_drop"  # the layer of timm that gets the attention where it is not fused


class FusedAttentionRecorder(TorchFunctionMode):
    """Compute the attention of each call of torch's fused attention beside it, from the same arguments.

    Rotary and relative positions, norms of queries and keys are in these arguments. What the network computes does not
    change.
    """

    def __init__(self, receive: Callable[[Tensor], None]):
        super().__init__()
        self.receive = receive

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call ``func``, and ``receive`` before it if it is fused attention."""
        if func is functional.scaled_dot_product_attention:
            with torch.autocast(args[0].device.type, enabled=False):
                self.receive(AttentionCall(*args, **(kwargs or {})).compute_weights())
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class AttentionCall:
    """Arguments of ``scaled_dot_product_attention``, with its names and in its order."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    def compute_weights(self) -> Tensor:
        """Return the weights by which the values are averaged, [B, H, Q, N], in float32.

        They are as the function's documentation defines them, without dropout.
        """
        query, key, mask = self.query.float(), self.key.float(), self.attn_mask
        if self.enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        logits = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if self.scale is None else self.scale)
        if self.is_causal:
            mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if mask is not None and mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, float("-inf"))
        elif mask is not None:
            logits = logits + mask
        return logits.softmax(-1)


@torch.no_grad()
def record_attention(network: TimmNetwork, images: Tensor, receive: Callable[[Tensor], None]) -> None:
    """Run a network on ``images`` [B, 3, R, R]; call ``receive`` with each attention [B, H, Q, N] that it computes."""

    def receive_unfused(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        with torch.autocast(inputs[0].device.type, enabled=False):
            receive(inputs[0].float())

    hooks = [
        module.register_forward_pre_hook(receive_unfused)
        for name, module in network.body.named_modules()
        if name.rpartition(".")[2] == DROPOUT
    ]
    try:
        with FusedAttentionRecorder(receive):
            network.pooled(images)
    finally:
        for hook in hooks:
            hook.remove()
