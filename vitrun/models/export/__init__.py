"""Weights out: a network in the format of another library."""

from vitrun.models.export.view import Description, image_statistics, list_losses
from vitrun.models.export.write import Target, export_model

__all__ = ["Description", "Target", "export_model", "image_statistics", "list_losses"]
