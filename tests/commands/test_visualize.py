"""visualize draws what weights and images allow, says what it cannot draw, and writes the numbers that it shows."""

import csv
import re
from dataclasses import replace
from io import BytesIO, TextIOWrapper

import numpy as np
import pytest
import torch

from helpers.image_files import JPEG, PNG
from helpers.networks import MODEL_ROWS, build_randomized, tiny_vit_row
from helpers.runs import pretrain_tiny, run_folder
from vitrun import models
from vitrun.api import commands
from vitrun.cli import completion
from vitrun.commands import runner
from vitrun.config import resolve
from vitrun.config.bare_arguments import split_arguments
from vitrun.engine import weights
from vitrun.errors import ExitCode, UserError
from vitrun.models.checkpoint_file import save_model
from vitrun.probes.attention_statistics import Rollout, grid_distances
from vitrun.probes.attention_survey import MAX_ATTENTION_BYTES, limit_batch
from vitrun.runs import results

WEIGHTS = ["filters", "positions"]
ATTENTION = ["rollout", "attention_distance", "attention_layers"]


@pytest.fixture
def photos(tmp_path):
    """Write images of different sizes and formats, and a file that is none."""
    place = tmp_path / "photos"
    place.mkdir()
    for name, content in (("a.jpg", JPEG), ("b.png", PNG), ("c.jpg", JPEG[:-900]), ("d.png", PNG)):
        (place / name).write_bytes(content)
    return place


def read_arrays(recipe):
    """Return the arrays of a run."""
    return np.load(run_folder(recipe, "visualize") / "arrays.npz", allow_pickle=False)


def test_the_newest_run_is_shown_on_its_own_test_images(run_command, tmp_path):
    folder = pretrain_tiny(run_command)
    recipe, result = run_command("visualize", "count=20", "shown=3", "batch=8")
    assert recipe.init == folder.name and recipe.data.name == "shapes" and result["images"] == 20
    assert result["figures"] == [*ATTENTION, *WEIGHTS] and "not_drawn" not in result
    place = run_folder(recipe, "visualize")
    files = {file.name for file in (place / "figures").iterdir()}
    assert files == {f"{name}.{end}" for name in result["figures"] for end in ("png", "svg", "csv")}
    page = (place / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5 and not re.search(r'(src|href)="(?!data:|#)', page)
    arrays = read_arrays(recipe)
    loaded = models.load(weights.find_weights_file(recipe.init, recipe.runs))
    loaded.network.eval()
    layout, layers = models.find_layout(loaded.network, loaded.res), []
    images = torch.from_numpy(arrays["images"]).permute(0, 3, 1, 2) / 127.5 - 1
    models.visit_attention(loaded.network, layout, images, lambda _, weights: layers.append(weights))
    rollout = Rollout()
    for attention in layers:
        rollout.update(attention)
    np.testing.assert_allclose(arrays["rollout"], rollout.read(layout, None), atol=2e-3)  # pixels are rounded
    np.testing.assert_allclose(arrays["attention"][:, 1, 0], layers[1].mean(1)[:, 0, 1:].view(3, 4, 4), atol=2e-3)
    assert result["distance_uniform"] == pytest.approx(float(grid_distances(4, 8).mean()))
    with open(place / "figures" / "attention_distance.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mean = np.mean([float(row["mean attention distance (px)"]) for row in rows if row["layer"] == "1"])
    assert result["distance_first_layer"] == pytest.approx(mean)


def test_images_of_any_kind_are_shown_and_bad_ones_are_named(run_command, photos, tmp_path):
    options = [
        "init=random:vit_nano8",
        "res=32",
        f"images={photos},{photos}/a.jpg",
        "heads=each",
        "layers=2",
        "shown=2",
    ]
    recipe, result = run_command("visualize", *options)
    assert (result["images"], result["skipped"]) == (3, 1)
    assert result["figures"][2:4] == ["attention_heads_1", "attention_heads_2"]
    log = (run_folder(recipe, "visualize") / "log.txt").read_text()
    assert "c.jpg is not a readable image" in log
    _, left_out = results.load_finished_runs(recipe.runs)
    assert [run.reason for run in left_out] == [results.Reason.COMMAND], "a run without a data set is a sound one"
    arrays = read_arrays(recipe)
    assert arrays["attention"].shape == (2, 1, MODEL_ROWS["vit_nano8"].heads, 4, 4)
    assert arrays["attention_layers"].tolist() == [2]
    name = run_folder(recipe, "visualize").name
    (photos / "d.png").write_bytes(JPEG)
    again = resolve.resolve_recipe("visualize", [*options, f"runs={recipe.runs}"])
    assert run_folder(again, "visualize").name != name, "other images are another run"


def save_weights(row, path, res: int = 32):
    """Write a network with random weights as a file of vitrun."""
    network = build_randomized(row, res=res)
    save_model(path, network, row, 5, res, ())
    return path


@pytest.mark.parametrize(
    "options, overrides, figures, reasons",
    [
        ({}, [], WEIGHTS, ["needs images"]),
        (
            {"positions": "relative", "head": "gap"},
            ["images={photos}"],
            [*ATTENTION, "filters"],
            ["relative positions"],
        ),
        ({"head": "map", "norm_pre": True}, ["images={photos}", "shown=0"], ["attention_distance", *WEIGHTS], []),
        (
            {"stem": 32, "resnet": (1, 1, 1, 1), "patch": 1},
            ["data=shapes", "count=2"],
            [*ATTENTION, "positions"],
            ["not pixels"],
        ),
    ],
    ids=["no images", "relative", "map", "hybrid"],
)
def test_what_cannot_be_drawn_is_named_and_the_rest_is_drawn(
    options, overrides, figures, reasons, run_command, photos, tmp_path
):
    file = save_weights(tiny_vit_row(**options), tmp_path / "tiny.safetensors", 64)
    given = [override.format(photos=photos / "a.jpg") for override in overrides]
    recipe, result = run_command("visualize", f"init={file}", *given)
    assert result["figures"] == figures
    assert [bool(re.search(why, text)) for why, text in zip(reasons, result.get("not_drawn", []), strict=True)] == [
        True for _ in reasons
    ]
    page = (run_folder(recipe, "visualize") / "page.html").read_text(encoding="utf-8")
    assert all(why in page for why in reasons)


WRONG = [
    (["init={resnet}"], "init", "has no attention between patches: it is a ResNet", ExitCode.CHECKPOINT),
    (["images=nothing.jpg"], "images", "there is no file or folder", ExitCode.DATA),
    (["images={photos}", "data=digits"], "images", "both name images", ExitCode.COMMAND),
    (["data=digits", "layers=3"], "layers", "has layers 1 to 2", ExitCode.COMMAND),
    (["data=digits", "layers=0"], "layers", "from 1 alone", ExitCode.COMMAND),
    (["data=digits", "layers=all,1"], "layers", "from 1 alone", ExitCode.COMMAND),
    (["data=digits", "count=0"], "count", "greater than 0", ExitCode.COMMAND),
    (["images={photos}/c.jpg"], None, "None of 1 images can be read", ExitCode.DATA),
]


@pytest.mark.parametrize("overrides, option, message, status", WRONG, ids=[" ".join(row[0]) for row in WRONG])
def test_a_wrong_override_is_refused_and_leaves_no_run(
    overrides, option, message, status, run_command, photos, tmp_path
):
    file = save_weights(tiny_vit_row(), tmp_path / "tiny.safetensors")
    row = replace(MODEL_ROWS["bit_r50x1"], blocks=(1, 1, 1, 1))
    resnet = save_weights(row, tmp_path / "resnet.safetensors") if "{resnet}" in overrides[0] else None
    given = [override.format(photos=photos, resnet=resnet) for override in overrides]
    if resnet is None:
        given.insert(0, f"init={file}")
    with pytest.raises(UserError, match=message) as caught:
        run_command("visualize", *given)
    assert (caught.value.option, caught.value.status) == (option, status)
    assert not any((tmp_path / "runs").glob("*"))


def test_options_of_images_without_images_are_refused(tmp_path):
    for override in ("layers=1", "heads=each", "view.crop=0.5"):
        with pytest.raises(UserError, match="is for images: add images="):
            unused = ["init=random:vit_nano8", override]
            runner.resolve_recipe("visualize", unused)


def test_the_shell_completes_paths_of_images(photos):
    assert completion.list_completions("visualize", [], f"images={photos}/a") == [f"images={photos}/a.jpg"]


def test_python_draws_and_a_dry_run_writes_nothing(tmp_path, photos):
    result = commands.visualize(
        init="random:vit_nano8", res=32, images=[photos / "a.jpg"], runs=tmp_path / "runs", dry_run=True
    )
    assert result["images"] == 1 and not (tmp_path / "runs").exists()


def test_memory_does_not_grow_with_the_resolution_or_the_batch():
    layout = models.AttentionLayout(24, 16, 1, 24, 1)  # ViT-L/16 at 384 pixels
    assert limit_batch(128, layout) * 16 * layout.tokens**2 * 4 <= MAX_ATTENTION_BYTES < 2**30
    assert limit_batch(128, models.AttentionLayout(12, 12, 1, 128, 1)) == 1 and limit_batch(8, layout) == 8


def test_paths_without_a_key_and_names_on_standard_input_are_images(photos, monkeypatch):
    assert split_arguments("visualize", [str(photos), "shown=0"]) == (["shown=0", f"images=[{photos}]"], {})
    names = f"{photos}/a.jpg\0{photos}/x,[1].png\0".encode()
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(names)))
    (override,), _ = split_arguments("visualize", ["-"])
    (photos / "x,[1].png").write_bytes(PNG)
    recipe = resolve.resolve_recipe("visualize", ["init=random:vit_nano8", override])
    assert recipe.images == (f"{photos}/a.jpg", f"{photos}/x,[1].png")
