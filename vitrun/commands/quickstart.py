"""``vitrun quickstart``: the whole chain with a small model on the embedded data."""

from vitrun import commands, recipes
from vitrun.config import resolve
from vitrun.runs import run
from vitrun.runtime.console import Screen

SCRATCH = ["init=random:vit_nano8", "res=32"]  # the default model, untrained, for comparison
CHAIN = (("pretrain", []), ("finetune", []), ("finetune", SCRATCH), ("fewshot", []), ("fewshot", SCRATCH))


def main(recipe: recipes.Quickstart, screen: Screen) -> None:
    """Pretrain on shapes, fine-tune and few-shot-test on digits, both also from untrained weights; then the table."""
    own: list[str] = []  # the weights of its own pretraining: the folder may have later runs
    for verb, words in CHAIN:
        screen.say(f"\n$ {' '.join(['vitrun', verb, *words])}")
        made = resolve.load(verb, [*(words or own), f"runs={recipe.runs}"])
        own = own or [f"init={run.name(verb, made)}"]
        screen.listeners.clear()
        screen.result(run.carry_out(verb, made, screen, commands.module(verb).main))
    screen.listeners.clear()
    screen.say("\n$ vitrun compare")
    made = resolve.load("compare", [f"runs={recipe.runs}", "paper=none"])
    commands.module("compare").main(made, screen)
    screen.say("\nNext, the same on CIFAR-10:\n  vitrun pretrain model=vit_ti4 data=cifar10 epochs=3")
