"""``vitrun export``: write weights in the form that another library reads."""

from pathlib import Path

import yaml

from vitrun import recipes
from vitrun.engine import weights
from vitrun.models.export import export
from vitrun.runs.lookup import model_of, outcome, recipe_of
from vitrun.runtime.console import Screen
from vitrun.runtime.files import read_json

HOW_TO_LOAD = {
    "timm": 'timm.create_model("local-dir:{path}", pretrained=True)',
    "hf": 'transformers.ViTForImageClassification.from_pretrained("{path}")',
    "npz": "vit_jax.checkpoint.load_pretrained of google-research/vision_transformer, or vitrun: init={path}",
    "onnx": 'onnxruntime.InferenceSession("{path}")',
}


def main(recipe: recipes.Export, screen: Screen) -> None:
    """Write the network behind ``recipe.init``, with a card that says what it is and how to load it."""
    path = recipe.path or Path(f"{model_of(recipe.init)}.{recipe.to}")
    how = HOW_TO_LOAD[recipe.to].format(path=path)
    loaded = weights.load(recipe.init, recipe.runs, 0, screen.say)
    about = card(recipe, loaded.res, how)
    export(loaded.network, loaded.model, loaded.classes, loaded.res, recipe.to, path, about, loaded.names)
    screen.say(f"Written to {path}. To load it: {how}")


def card(recipe: recipes.Export, res: int, how: str) -> str:
    """The model card: where the weights come from, how to load them, results, data, recipe."""
    parts = [
        f"# {Path(recipe.init).name}",
        f"Exported by vitrun. Images are [B, 3, {res}, {res}] in [-1, 1]: (x - 127.5) / 127.5 of 8-bit RGB, squared.",
        f"## To load\n\n```\n{how}\n```",
    ]
    if made := recipe_of(recipe.init, recipe.runs):
        folder = recipe.runs / recipe.init
        facts = {
            "Results": outcome(folder)["result"],
            "Data and surroundings": read_json(folder / "about.json"),
            "Recipe": made,
        }
        parts += [f"## {title}\n\n```yaml\n{yaml.safe_dump(fact, sort_keys=False)}```" for title, fact in facts.items()]
    return "\n\n".join(parts) + "\n"
