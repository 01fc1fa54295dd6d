"""Weights in: the layouts of published weights, by the names of their tensors."""

from vitrun.models.formats.registry import holds_clip, recognise
from vitrun.models.formats.timm_checkpoint import describe_checkpoint

__all__ = ["describe_checkpoint", "holds_clip", "recognise"]
