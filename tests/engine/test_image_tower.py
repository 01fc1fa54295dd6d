"""Commands that need no texts take the image tower of a CLIP."""

from vitrun.runs.run import run_name

DATA = ("data=shapes", "data.train_images=24", "data.test_images=8", "precision=fp32")
COMMANDS = [["fewshot", "shots=[1]"], ["visualize"], ["finetune", "steps=1", "warmup=0", "batch=8"]]


def test_a_run_of_two_towers_continues_with_its_image_tower(run_command):
    pretrain = ("objective=contrastive", "objective.loss=sigmoid", "steps=2", "warmup=1", "batch=8", "micro_batch=3")
    run_command("pretrain", *pretrain, *DATA)
    for name, *more in COMMANDS:
        recipe, _ = run_command(name, "init=latest", *more, *(() if name == "visualize" else DATA))
        log = (recipe.runs / run_name(name, recipe) / "log.txt").read_text()
        assert "text tower" in log or "its image tower is used" in log, name
