"""Recipes: the options of each command, with their types and checks. The values live in ``conf/``."""

from vitrun.recipes.boxes import Coco, DrawnBoxes
from vitrun.recipes.data import AUTO, DIGITS_IMAGES, Captions, Data, Digits, Files, Pairs, Shapes, Shards, Table
from vitrun.recipes.data_checks import check_not_suite, check_trainable, count_held_out
from vitrun.recipes.dataset import Dataset, DescribedDataset, describe_origin
from vitrun.recipes.dedup import Dedup
from vitrun.recipes.detection import Detect, Detection
from vitrun.recipes.evaluate import Eval
from vitrun.recipes.fewshot import Fewshot
from vitrun.recipes.finetune import Finetune
from vitrun.recipes.generate import Generate
from vitrun.recipes.model import BiT, Clip, ClipResNet, Detector, IGpt, Model, ModelInfo, ResNet, TextTower, Timm, ViT
from vitrun.recipes.objective import Contrastive, Labels, Masked, Pixels, PixelsBert, SimMim
from vitrun.recipes.optimizer import Adafactor, Adam, RmsProp, Sgd
from vitrun.recipes.predict import Predict
from vitrun.recipes.pretrain import Pretrain
from vitrun.recipes.probe import LinearProbe, OnlineProbe
from vitrun.recipes.run_recipe import DEFAULT_RES, RECIPE_FILE, NetworkRecipe, RunRecipe
from vitrun.recipes.shard_patterns import is_url
from vitrun.recipes.status import Doctor, ListRuns
from vitrun.recipes.tools import Compare, Export, ListData, ListModels, Quickstart, Report
from vitrun.recipes.training import DURATIONS, Training
from vitrun.recipes.view import RECTANGLES, Augment, View
from vitrun.recipes.visualize import Visualize
from vitrun.recipes.vtab import Suite, Vtab

__all__ = [
    "RECTANGLES",
    "AUTO",
    "Adafactor",
    "Adam",
    "Augment",
    "BiT",
    "Captions",
    "Clip",
    "ClipResNet",
    "Coco",
    "Compare",
    "Contrastive",
    "DEFAULT_RES",
    "DIGITS_IMAGES",
    "DURATIONS",
    "Data",
    "Dataset",
    "Dedup",
    "Doctor",
    "DescribedDataset",
    "Detect",
    "Detection",
    "Detector",
    "Digits",
    "DrawnBoxes",
    "Eval",
    "Export",
    "Fewshot",
    "Files",
    "Finetune",
    "Generate",
    "IGpt",
    "Labels",
    "LinearProbe",
    "ListData",
    "ListModels",
    "ListRuns",
    "Masked",
    "Model",
    "ModelInfo",
    "NetworkRecipe",
    "OnlineProbe",
    "Pairs",
    "Pixels",
    "PixelsBert",
    "Predict",
    "Pretrain",
    "Quickstart",
    "RECIPES",
    "RECIPE_FILE",
    "Recipe",
    "Report",
    "ResNet",
    "RunRecipe",
    "RunnableRecipe",
    "RmsProp",
    "Sgd",
    "Shapes",
    "Shards",
    "Table",
    "SimMim",
    "Suite",
    "TextTower",
    "Timm",
    "Training",
    "ViT",
    "View",
    "Visualize",
    "Vtab",
    "check_not_suite",
    "check_trainable",
    "count_held_out",
    "describe_origin",
    "is_url",
]

RunnableRecipe = Pretrain | Finetune | Fewshot | Eval | Dedup | Visualize | Generate  # of the commands that make a run
Recipe = RunnableRecipe | Predict | Compare | Report | Quickstart | Export | ListModels | ListData | ListRuns | Doctor
RECIPES: dict[str, type[Recipe]] = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "fewshot": Fewshot,
    "eval": Eval,
    "predict": Predict,
    "dedup": Dedup,
    "visualize": Visualize,
    "generate": Generate,
    "compare": Compare,
    "report": Report,
    "export": Export,
    "quickstart": Quickstart,
    "models": ListModels,
    "data": ListData,
    "runs": ListRuns,
    "doctor": Doctor,
}
