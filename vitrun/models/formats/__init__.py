"""Weights in: the layouts of published weights, by the names of their tensors."""

from vitrun.models.formats.registry import recognise

__all__ = ["recognise"]
