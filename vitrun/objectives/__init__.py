"""Training objectives, one file each. docs/extending.md shows how to add one."""

from vitrun.engine.interfaces import Objective
from vitrun.errors import lookup
from vitrun.objectives.contrastive import ContrastiveObjective
from vitrun.objectives.detection import DetectionObjective
from vitrun.objectives.labels import LabelObjective
from vitrun.objectives.masked import MaskedObjective
from vitrun.objectives.pixels import PixelObjective
from vitrun.objectives.simmim import SimMimObjective
from vitrun.recipes import Pretrain
from vitrun.runtime.plugins import find_plugins, load_plugin

BuiltIn = (
    LabelObjective | MaskedObjective | SimMimObjective | ContrastiveObjective | PixelObjective | DetectionObjective
)
OBJECTIVES: dict[str, type[BuiltIn]] = {
    "labels": LabelObjective,
    "masked": MaskedObjective,
    "simmim": SimMimObjective,
    "contrastive": ContrastiveObjective,
    "pixels": PixelObjective,
    "pixels_bert": PixelObjective,
    "detection": DetectionObjective,
}
PLUGIN_GROUP = "vitrun.objectives"  # the entry points by which an installed package adds to OBJECTIVES


def build_objective(recipe: Pretrain) -> Objective:
    """Return the objective of a recipe, of vitrun or of an installed package."""
    kind, plugins = recipe.objective.kind, find_plugins(PLUGIN_GROUP)
    if kind not in OBJECTIVES and kind in plugins:
        return load_plugin(plugins[kind]).from_recipe(recipe)
    return lookup(OBJECTIVES, kind, "objective").from_recipe(recipe)
