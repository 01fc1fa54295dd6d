"""Weights out: a network in the format of another library."""

from vitrun.models.export.write import export_model

__all__ = ["export_model"]
