"""The published zero-shot numbers of CLIP, and what of ours is compared with them."""

from pathlib import Path

from vitrun import papers
from vitrun.recipes import tables
from vitrun.runs.describe import describe_run
from vitrun.runs.published import match_published


def evaluate(init: str, data: str) -> dict:
    """Return the facts of a zero-shot evaluation."""
    view = {"resize": "shortest_edge", "crop": 1.0, "antialias": True, "interpolation": "bicubic"}
    options = {"command": "eval", "init": init, "data": tables.read_row("data", data), "view": view, "res": 224}
    return describe_run("eval", options, Path("runs"))


def test_zero_shot_of_published_weights_is_compared_with_the_paper_and_open_clip():
    table = papers.load_table("clip")
    facts = evaluate("hf:openai/clip-vit-base-patch32@1a2b", "cifar10")
    assert (facts["model"], facts["upstream"]) == ("CLIP ViT-B/32", "WIT-400M")
    found = {match.number.fields["by"]: match.number.value for match in match_published(facts, "top1", table)}
    assert found == {"paper": 91.3, "open_clip": 89.83}
    pets = evaluate("hf:timm/resnet50_clip.openai", "pets")
    assert not match_published(pets, "top1", table), "the paper counts the mean over classes"
    found = {match.number.fields["by"]: match.number.value for match in match_published(pets, "top1_per_class", table)}
    assert found == {"paper": 85.4, "open_clip": 85.29}
    assert not match_published(evaluate("random:clip_b32", "cifar10"), "top1", table), "other weights are not compared"
    assert all(number.source for number in table.numbers)
