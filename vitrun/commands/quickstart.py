"""``vitrun quickstart``: the whole chain with a small model on the embedded data."""

import shlex
from typing import Any

from vitrun import commands, recipes
from vitrun.config import resolve
from vitrun.runs import execution, jobs, run
from vitrun.runtime.console import Screen

SCRATCH = ["init=random:vit_nano8", "res=32"]  # the default model, untrained, for comparison
CHAIN: tuple[tuple[str, list[str]], ...] = (
    ("pretrain", []),
    ("finetune", []),
    ("finetune", SCRATCH),
    ("fewshot", []),
    ("fewshot", SCRATCH),
)


def execute(recipe: recipes.Quickstart, screen: Screen) -> dict[str, Any]:
    """Pretrain on shapes, fine-tune and few-shot-test on digits, both also from untrained weights; then compare.

    Return the table of ``vitrun compare``.
    """
    runs = f"runs={recipe.runs}"
    pretrained: list[str] = []  # init= of the chain's own pretraining: the folder may have later runs

    def execute_step(step: tuple[str, list[str]]) -> None:
        command, overrides = step
        step_recipe = resolve.resolve_recipe(command, [*(overrides or pretrained), runs])
        if not pretrained:
            pretrained.append(f"init={run.run_name(command, step_recipe)}")
        screen.listeners.clear()
        execute = commands.import_command(command).execute
        result = execution.execute_run(command, step_recipe, screen, execute)
        if not screen.as_json:
            screen.print_result(result)

    steps = {shlex.join(["vitrun", command, *overrides]): (command, overrides) for command, overrides in CHAIN}
    jobs.run_jobs(steps, execute_step, lambda line: screen.log(f"\n{line}"), screen.warn, tolerated=())
    screen.listeners.clear()
    screen.log("\nvitrun compare")
    compare_recipe = resolve.resolve_recipe("compare", [runs])
    table: dict[str, Any] = commands.import_command("compare").execute(compare_recipe, screen)
    screen.log("\nNext, the same on CIFAR-10:\n  vitrun pretrain model=vit_ti4 data=cifar10 epochs=3")
    return table
