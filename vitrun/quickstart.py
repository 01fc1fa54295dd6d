"""``vitrun quickstart``: the whole chain with a small model on the embedded data."""

from importlib import import_module

from vitrun import recipe, run
from vitrun.screen import Screen

MODEL = "vit_ti8"
CHAIN = (
    ("pretrain", [f"model={MODEL}", "data=shapes", "steps=150"]),
    ("finetune", ["data=digits", "epochs=12"]),
    ("finetune", ["data=digits", "epochs=12", f"init=random:{MODEL}", "res=32"]),
    ("fewshot", ["data=digits"]),
    ("fewshot", ["data=digits", f"init=random:{MODEL}", "res=32"]),
)


def main(recipe: recipe.Quickstart, screen: Screen) -> None:
    """Pretrain on shapes, fine-tune and few-shot-test on digits, both also from untrained weights; then the table."""
    for verb, words in CHAIN:
        words = [*words, f"runs={recipe.runs}"]
        screen.say(f"\n$ vitrun {verb} {' '.join(words)}")
        made = run.load(verb, words)
        screen.listeners.clear()
        screen.result(run.carry_out(verb, made, screen, import_module(f"vitrun.{verb}").main))
    screen.listeners.clear()
    screen.say("\n$ vitrun compare")
    made = run.load("compare", [f"runs={recipe.runs}", "paper=none"])
    import_module("vitrun.compare").main(made, screen)
    screen.say("\nNext, the same on CIFAR-10:\n  vitrun pretrain model=vit_ti4 data=cifar10 epochs=3")
