"""``vitrun export``: write weights in the format of another library."""

from pathlib import Path
from typing import Any

import yaml

from vitrun import recipes
from vitrun.engine import weights
from vitrun.models.export import export_model
from vitrun.runs.lookup import load_saved_recipe, model_name_of
from vitrun.runs.run_files import load_about, load_result
from vitrun.runtime.console import Screen

HOW_TO_LOAD = {
    "timm": 'timm.create_model("local-dir:{path}", pretrained=True)',
    "hf": 'transformers.ViTForImageClassification.from_pretrained("{path}")',
    "npz": "vit_jax.checkpoint.load_pretrained of google-research/vision_transformer, or vitrun: init={path}",
    "onnx": 'onnxruntime.InferenceSession("{path}")',
}


def execute(recipe: recipes.Export, screen: Screen) -> dict[str, Any]:
    """Write the network of ``recipe.init``, with a model card; return its ``path`` and the code to ``load`` it."""
    path = recipe.path or Path(f"{model_name_of(recipe.init, recipe.runs)}.{recipe.to}")
    code = HOW_TO_LOAD[recipe.to].format(path=path)
    loaded = weights.load_init(weights.Source(recipe.init, recipe.runs, recipe.init_weights), screen.log)
    card = build_model_card(recipe, loaded.res, code)
    export_model(loaded.network, loaded.res, recipe.to, path, card, loaded.names)
    screen.log(f"Written to {path}. Load it with {code}")
    return {"path": str(path), "load": code}


def build_model_card(recipe: recipes.Export, res: int, code: str) -> str:
    """Return the model card: where the weights come from, how to load them, results, data, recipe."""
    parts = [
        f"# {Path(recipe.init).name}",
        f"Exported by vitrun. Images are [B, 3, {res}, {res}] in [-1, 1]: (x - 127.5) / 127.5 of 8-bit RGB, squashed.",
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
