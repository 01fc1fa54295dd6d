"""evaluate on ImageNet's other test sets: several labels or none, and subsets of the classes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch

from helpers.imagenet import SYNSETS, open_data_row, valid_labels_by_file, validation_file_name, write_validation_set
from helpers.images import write_class_folders
from vitrun import data, models
from vitrun.data.sources import imagenet
from vitrun.data.sources.registry import open_source
from vitrun.data.transforms.views import CenterCropView
from vitrun.errors import ExitCode, UserError
from vitrun.models.build import build
from vitrun.recipes import tables
from vitrun.runs import run


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> str:
    """Return a file of a small network with the 1,000 classes of ImageNet."""
    torch.manual_seed(0)
    row = tables.load_model_rows()["vit_nano8"]
    network = build(row, 1000, 16)
    torch.nn.init.normal_(network.head.weight)
    file = tmp_path_factory.mktemp("thousand") / "thousand.safetensors"
    models.save_model(file, network, row, 1000, 16)
    return str(file)


def compute_logits(init: str, split: data.Split) -> torch.Tensor:
    """Return the network's logits of every image: [N, 1000]."""
    network = models.load(init).network.eval()
    with torch.inference_mode():
        return network(next(data.test_batches(split, CenterCropView(16), len(split))).images)


def load_predictions(recipe) -> dict:
    """Return the predictions of a finished ``eval``, by column."""
    return pyarrow.parquet.read_table(recipe.runs / run.run_name("eval", recipe) / "preds.parquet").to_pydict()


def test_an_image_without_real_labels_is_not_counted(run_command, thousand, tmp_path):
    names, labels = [validation_file_name(number) for number in range(1, 13)], list(range(12))
    likeliest = compute_logits(
        thousand, open_data_row("imagenet", write_validation_set(tmp_path / "a", names, labels), test_images=12)
    ).argmax(1)
    right = [[int(top), 5] if n < 5 else [(int(top) + 1) % 1000] if n < 8 else [] for n, top in enumerate(likeliest)]
    labels = [(accepted or [7])[0] for accepted in right]
    root = write_validation_set(tmp_path / "b", names, labels, real_labels=right)
    overrides = (f"init={thousand}", f"data.path={root}", "data.test_images=12", "precision=fp32")
    recipe, result = run_command("eval", "data=imagenet_real", *overrides)
    assert result["top1"] == 5 / 8 and (result["images_used"], result["images_expected"]) == (8, 12)
    assert "loss" not in result
    predictions = load_predictions(recipe)
    assert predictions["right"] == right and predictions["label"] == labels
    hits = [bool({*top} & {*accepted}) for top, accepted in zip(predictions["top5"], right) if accepted]
    assert result["top5"] == pytest.approx(np.mean(hits))

    same, other = (run_command("eval", "data=imagenet", *overrides, *more) for more in (["data.labels=real"], []))
    assert same[1] == result, "the override and the row mean the same"
    assert (other[1]["top1"], other[1]["images_used"]) == (5 / 12, 12) and other[1]["loss"] > 0


@pytest.mark.shared
def test_475_of_500_real_images_have_labels_and_the_lists_agree(run_command, shared, thousand):
    root = shared / "data" / "imagenet_real_sample"
    overrides = ("data=imagenet_real", f"data.path={root}", "data.test=test", "data.test_images=500")
    recipe, result = run_command("eval", f"init={thousand}", *overrides)
    assert (result["images_used"], result["images_expected"]) == (475, 500)
    column = open_source(recipe.data, "test")
    numbered = open_source(replace(recipe.data, real=imagenet.locate_timm_file("imagenet_real_labels.json")), "test")
    assert valid_labels_by_file(column) == valid_labels_by_file(numbered)


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_a_model_of_a_thousand_classes_predicts_among_the_two_hundred(name, run_command, thousand, tmp_path):
    chosen = imagenet.read_subset_labels(name)
    root = write_class_folders(tmp_path / "images", [SYNSETS[label] for label in chosen])
    (root / "README.txt").write_text("as in the archive")
    overrides = (f"data={name}", f"data.path={root}", "data.test_images=200", "precision=fp32")
    recipe, result = run_command("eval", f"init={thousand}", *overrides)
    split = data.open_split(recipe.data, "test")
    assert split.labels.tolist() == list(range(200)) and split.classes == tuple(SYNSETS[label] for label in chosen)
    among = compute_logits(thousand, split)[:, chosen]
    assert load_predictions(recipe)["top5"] == among.topk(5).indices.tolist()
    assert result["top1"] == pytest.approx((among.argmax(1).numpy() == split.labels).mean())
    loss = torch.nn.functional.cross_entropy(among, torch.arange(200))
    assert result["loss"] == pytest.approx(float(loss), rel=1e-4) and result["images_used"] == 200


def test_a_head_with_imagenets_classes_in_another_order_is_matched_by_name(run_command, thousand, tmp_path):
    chosen = imagenet.read_subset_labels("imagenet_a")
    root = write_class_folders(tmp_path / "images", [SYNSETS[label] for label in chosen])
    overrides = ("data=imagenet_a", f"data.path={root}", "data.test_images=200", "precision=fp32")
    recipe, _ = run_command("eval", f"init={thousand}", *overrides)
    loaded = models.load(thousand)
    for part in (loaded.network.head.weight, loaded.network.head.bias):
        part.data = part.data.flip(0)
    turned = tmp_path / "turned.safetensors"
    models.save_model(turned, loaded.network, loaded.model, 1000, 16, SYNSETS[::-1])
    again, _ = run_command("eval", f"init={turned}", *overrides)
    assert load_predictions(again)["top5"] == load_predictions(recipe)["top5"]
    models.save_model(turned, loaded.network, loaded.model, 1000, 16, [f"kind {n}" for n in range(1000)])
    with pytest.raises(UserError, match="ImageNet's 1,000 classes") as error:
        run_command("eval", f"init={turned}", *overrides)
    assert (error.value.status, error.value.option) == (ExitCode.DATA, "match")
    run_command("eval", f"init={turned}", *overrides, "match=order")


def test_a_model_of_other_classes_is_refused(run_command, tmp_path):
    root = write_class_folders(
        tmp_path / "images", [SYNSETS[label] for label in imagenet.read_subset_labels("imagenet_a")]
    )
    with pytest.raises(UserError, match=r"has a head of 1 class, but imagenet_a has 200: .*data=imagenet\)"):
        run_command("eval", "init=random:vit_nano8", "data=imagenet_a", f"data.path={root}", "data.test_images=200")


@pytest.fixture
def objectnet(tmp_path) -> Path:
    """Write a small ObjectNet as in its archive: four classes, three of which match four classes of ImageNet."""
    root = tmp_path / "objectnet-1.0"
    write_class_folders(root / "images", ["air_freshener", "bench", "chair", "teapot"], count=6)
    (root / "mappings").mkdir()
    titles = {"air_freshener": "Air freshener", "bench": "Bench", "chair": "Chair", "teapot": "Teapot"}
    shared = {"Chair": "label 20, seat; label 30", "Bench": "label 10", "Teapot": "label 40"}
    lines = [f"label {n}{', seat' * (n == 20)}" for n in range(1000)]  # in the order of 2012, shifted by one here
    files = {
        "folder_to_objectnet_label.json": json.dumps(titles),
        "objectnet_to_imagenet_1k.json": json.dumps(shared),
        "pytorch_to_imagenet_2012_id.json": json.dumps({str(n): (n + 1) % 1000 for n in range(1000)}),
        "imagenet_to_label_2012_v2": "\n".join(lines) + "\n",
    }
    for name, text in files.items():
        (root / "mappings" / name).write_text(text)
    return root


def test_a_prediction_on_objectnet_is_correct_if_it_is_any_matching_class_of_imagenet(run_command, thousand, objectnet):
    overrides = ("data=objectnet", f"data.path={objectnet}", "data.classes=3", "precision=fp32")
    recipe, result = run_command("eval", f"init={thousand}", *overrides)
    split = data.open_split(recipe.data, "test")
    assert split.classes == ("bench", "chair", "teapot") and np.bincount(split.labels).tolist() == [6, 6, 6]
    assert [set(row) for row in split.imagenet_labels.tolist()] == [{9}, {19, 29}, {39}]
    classes = np.array([9, 19, 29, 39])
    own = np.array([0, 1, 1, 2])[compute_logits(thousand, split)[:, classes].argmax(1)]
    assert result["top1"] == pytest.approx((own == split.labels).mean())
    assert result["images_used"] == result["images_expected"] == 18


def test_objectnet_without_its_mappings_says_what_is_missing(objectnet):
    (objectnet / "mappings" / "objectnet_to_imagenet_1k.json").unlink()
    with pytest.raises(UserError, match=r"objectnet_to_imagenet_1k.json.*with images and mappings") as error:
        open_data_row("objectnet", objectnet)
    assert error.value.status == ExitCode.DATA
