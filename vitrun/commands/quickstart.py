"""``vitrun quickstart``: the whole chain with a small model on the embedded data."""

from vitrun import commands, recipes
from vitrun.config import resolve
from vitrun.runs import run
from vitrun.runtime.console import Screen

SCRATCH = ["init=random:vit_nano8", "res=32"]  # the default model, untrained, for comparison
CHAIN = (("pretrain", []), ("finetune", []), ("finetune", SCRATCH), ("fewshot", []), ("fewshot", SCRATCH))


def execute(recipe: recipes.Quickstart, screen: Screen) -> None:
    """Pretrain on shapes, fine-tune and few-shot-test on digits, both also from untrained weights; then the table."""
    own: list[str] = []  # the weights of its own pretraining: the folder may have later runs
    for command, overrides in CHAIN:
        screen.log(f"\n$ {' '.join(['vitrun', command, *overrides])}")
        made = resolve.resolve_recipe(command, [*(overrides or own), f"runs={recipe.runs}"])
        own = own or [f"init={run.run_name(command, made)}"]
        screen.listeners.clear()
        screen.print_result(run.execute_run(command, made, screen, commands.import_command(command).execute))
    screen.listeners.clear()
    screen.log("\n$ vitrun compare")
    made = resolve.resolve_recipe("compare", [f"runs={recipe.runs}", "paper=none"])
    commands.import_command("compare").execute(made, screen)
    screen.log("\nNext, the same on CIFAR-10:\n  vitrun pretrain model=vit_ti4 data=cifar10 epochs=3")
