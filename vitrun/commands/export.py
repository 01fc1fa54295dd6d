"""``vitrun export``: write weights in the format of another library."""

from pathlib import Path
from typing import Any

import yaml

from vitrun import models, recipes
from vitrun.config.resolve import DEFAULT_VIEW
from vitrun.engine import weights
from vitrun.errors import UserError
from vitrun.models.export import Description, Target, export_model, image_statistics, list_losses
from vitrun.runs.lookup import load_saved_recipe, model_name_of
from vitrun.runs.run_files import load_about, load_result
from vitrun.runs.weights_view import WeightsView, describe_view, find_weights_view
from vitrun.runtime.console import Screen

HOW_TO_LOAD = {
    "timm": 'timm.create_model("local-dir:{path}", pretrained=True)',
    "open_clip": 'open_clip.create_model_from_pretrained("local-dir:{path}")',
    "npz": "vit_jax.checkpoint.load_pretrained of google-research/vision_transformer, or vitrun: init={path}",
    "onnx": 'onnxruntime.InferenceSession("{path}")',
}
CLIP_VALUES = "normalised as the config beside the weights says, with CLIP's deviation"


def execute(recipe: recipes.Export, screen: Screen) -> dict[str, Any]:
    """Write the network of ``recipe.init``, with a model card; return its ``path`` and the code to ``load`` it."""
    path = recipe.path or Path(f"{model_name_of(recipe.init, recipe.runs)}.{recipe.to}")
    loaded = weights.load_init(weights.WeightsSource(recipe.init, recipe.runs, recipe.init_weights), screen.log)
    code = describe_loading(loaded.network, recipe.to).format(path=path)
    description, view = describe(recipe, loaded)
    screen.log(f"view of test images: {view}")
    values = CLIP_VALUES if isinstance(loaded.network, models.Clip) else "in [-1, 1]: (x - 127.5) / 127.5 of 8-bit RGB"
    card = build_model_card(recipe, f"[B, 3, {loaded.res}, {loaded.res}] {values}", code, view)
    target = Target(path, recipe.force)
    is_new = export_model(loaded.network, loaded.res, recipe.to, target, card, description)
    screen.log(f"{'Written to' if is_new else 'This export is there already:'} {path}. Load it with {code}")
    return {"path": str(path), "load": code}


def describe_loading(network: models.Network, to: str) -> str:
    """Return the code that loads an export, with ``{path}`` for its path; of transformers it depends on the network."""
    if to != "hf":
        return HOW_TO_LOAD[to]
    options, has_head = "", bool(network.head.out_features)
    if isinstance(network, models.Clip):
        name = "CLIPModel"
    elif isinstance(network, models.Detector):
        name = "AutoModelForObjectDetection"
    elif isinstance(network, models.IGpt):
        name = "ImageGPTForImageClassification" if has_head else "ImageGPTForCausalImageModeling"
    else:
        name, options = ("ViTForImageClassification", "") if has_head else ("ViTModel", ", add_pooling_layer=False")
    return f'transformers.{name}.from_pretrained("{{path}}"{options})'


def describe(recipe: recipes.Export, loaded: models.LoadedModel) -> tuple[Description, str]:
    """Return what the export says beside its tensors, and a sentence on the view and what is not said of it."""
    try:
        own = find_weights_view(recipe.init, recipe.runs)
        of_training = find_weights_view(recipe.init, recipe.runs, loaded.res)
    except UserError:  # a view that vitrun lacks
        own = of_training = WeightsView("")
    options: dict[str, Any] = {**DEFAULT_VIEW, **own.options}
    view = recipes.View(**options | {"fill": tuple(options["fill"])})
    crop = of_training.options.get("crop", view.crop)
    source = f"of {own.source}" if own.source else "assumed: the weights do not say"
    losses = list_losses(view, recipe.to, image_statistics(loaded.network)[0])
    lost = f". In the files of to={recipe.to}: {'; '.join(losses)}" if losses else ""
    text = f"{describe_view(options)} at {own.res or loaded.res} px ({source}){lost}"
    return Description(loaded.names, view, own.res, crop), text


def build_model_card(recipe: recipes.Export, images: str, code: str, view: str) -> str:
    """Return the model card: where the weights come from, which images they take, how to load them, results, recipe."""
    parts = [
        f"# {Path(recipe.init).name}",
        f"Exported by vitrun. Images are {images}.",
        f"View of test images: {view}.",
        f"## To load\n\n```\n{code}\n```",
    ]
    folder = recipe.runs / recipe.init
    if made := load_saved_recipe(recipe.init, recipe.runs):
        facts = {
            "Results": load_result(folder),
            "Data and surroundings": load_about(folder),
            "Recipe": made,
        }
        parts += [f"## {title}\n\n```yaml\n{yaml.safe_dump(fact, sort_keys=False)}```" for title, fact in facts.items()]
    return "\n\n".join(parts) + "\n"
