"""Zero-shot classification and retrieval of a CLIP."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from helpers.paths import SHARED
from vitrun import models
from vitrun.data import Batch
from vitrun.data.transforms.views import CenterCropView
from vitrun.engine import retrieval, zero_shot
from vitrun.errors import UserError
from vitrun.models import clip_resnet
from vitrun.recipes import tables
from vitrun.recipes.base import OptionError
from vitrun.recipes.prompts import Prompts, find_prompts
from vitrun.runtime.device import Machine


def make_clip():
    """Return a small CLIP with random weights."""
    torch.manual_seed(0)
    return models.build(tables.load_model_row("clip_nano"), 0, 32).eval()


def test_a_classifier_is_the_mean_of_unit_features_of_its_texts():
    network, tokenize = make_clip(), models.build_tokenizer(tables.load_model_row("clip_nano").text)
    texts = zero_shot.write_texts([("star", "asterisk"), ("disc",)], ["a {}.", "the {}"])
    assert texts == [["a star.", "a asterisk.", "the star", "the asterisk"], ["a disc.", "the disc"]]
    rows = zero_shot.build_classifier(network, texts, Machine("cpu", "fp32"))
    with torch.no_grad():
        for row, own in zip(rows, texts):
            features = functional.normalize(network.encode_text(tokenize(own)), dim=1)
            assert torch.allclose(row, functional.normalize(features.mean(0), dim=0), atol=1e-6)
        images = torch.randn(3, 3, 32, 32)
        cosines = functional.normalize(network.encode_image(images), dim=1) @ rows.T
        assert torch.allclose(zero_shot.ZeroShot(network, rows)(images), cosines / 0.07, atol=1e-4)


def test_recall_counts_the_best_caption_of_an_image_and_ties_as_chance():
    eye = torch.eye(20)
    owners = torch.arange(20).repeat_interleave(2)
    texts = torch.cat([functional.normalize(eye + 0.1 * noise, dim=1)[:, None] for noise in (eye, eye.flip(0))], 1)
    exact = retrieval.count_recalls(eye, texts.flatten(0, 1), owners)
    assert all(exact[f"{kind}_recall{k}"].mean == 1 for kind in ("text", "image") for k in (1, 5, 10))
    wrong = retrieval.count_recalls(eye.roll(1, 0), texts.flatten(0, 1), owners)
    assert wrong["text_recall1"].mean == wrong["image_recall1"].mean == 0
    same = retrieval.count_recalls(torch.ones(20, 1), torch.ones(20, 1), torch.arange(20))
    assert [round(same[f"image_recall{k}"].mean, 6) for k in (1, 5, 10)] == [0.05, 0.25, 0.5], "chance"
    assert same["text_recall5"].mean == pytest.approx(0.25)


def test_retrieval_does_not_depend_on_batches():
    network, images = make_clip(), torch.randn(7, 3, 32, 32)
    captions = tuple(tuple(f"{n} {m}" for m in range(1 + n % 3)) for n in range(7))

    def measure(size: int):
        batches = [
            Batch(images[rows], torch.full((len(rows),), -1), rows.numpy(), captions=tuple(captions[n] for n in rows))
            for rows in torch.arange(7).split(size)
        ]
        return retrieval.measure_retrieval(network, batches, Machine("cpu", "fp32"), lambda number: None)

    assert measure(7) == measure(2) and measure(7)["test_captions"] == 13


def test_classes_are_named_by_name_or_by_order():
    prompts = find_prompts("cifar100")
    by_name, how = zero_shot.name_classes([name.replace(" ", "_") for (name,) in prompts.names], prompts)
    assert by_name == [*prompts.names] and how == "by name"
    pets = find_prompts("pets")
    shuffled = [pets.names[place][0].upper() for place in np.random.default_rng(0).permutation(37)]
    assert [name.upper() for (name,) in zero_shot.name_classes(shuffled, pets)[0]] == shuffled
    assert zero_shot.name_classes([f"flower {n}" for n in range(102)], find_prompts("flowers102"))[1] == "by order"
    synsets = zero_shot.name_classes(["n01443537", "n01440764"], find_prompts("imagenet_a"))
    assert synsets == ([("goldfish",), ("tench",)], "by synset")
    own = zero_shot.name_classes(["tabby_cat"], Prompts(("{}",), None, ""))
    assert own == ([("tabby cat",)], "its class names as they are")
    mapped = Prompts(("{}",), {"a": ("cat",)}, "file")
    assert zero_shot.name_classes(["A"], mapped)[0] == [("cat",)]
    for classes, names in ((["a", "b"], mapped), (["frog", "newt"], find_prompts("cifar10"))):
        with pytest.raises(UserError, match="no name for 1"):
            zero_shot.name_classes(classes, names)


def test_every_set_of_prompts_fits_the_classes_of_its_data_set():
    rows = tables.read_rows("data")
    for name in zero_shot_sets():
        prompts = find_prompts(name)
        assert prompts.templates and all("{}" in template for template in prompts.templates)
        classes = rows.get(name, {}).get("classes")
        if classes and prompts.names and not name.startswith("imagenet"):
            assert len(prompts.names) == classes, name


def zero_shot_sets() -> list[str]:
    """Return the names of all sets of prompts."""
    from vitrun.recipes import composition

    return [*composition.list_config_names("prompt_sets")]


WRONG = {
    "a photo": "neither a template",
    "cifra10": "cifar10",
    "a.yaml": "without {}",
    "b.yaml": "'template'",
    "c.yaml": "classes must be",
    "d.txt": "UTF-8",
}


def test_wrong_prompts_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("templates: [a photo]")
    (tmp_path / "b.yaml").write_text("template: ['{}']")
    (tmp_path / "c.yaml").write_text("classes: cat")
    (tmp_path / "d.txt").write_bytes(b"caf\xe9")
    (tmp_path / "e.txt").write_text("a drawing of a {}\ncat\ndog\n")
    for value, part in WRONG.items():
        with pytest.raises(OptionError) as error:
            find_prompts(value)
        assert part in str(error.value) and len(str(error.value)) < 400, str(error.value)
    assert find_prompts("e.txt").names == (("cat",), ("dog",)) and find_prompts("e.txt").templates[0][:5] == "a dra"
    assert find_prompts("cat, dog").names == (("cat",), ("dog",))
    assert find_prompts("auto", SimpleNamespace(name="mine")).names is None


@pytest.mark.shared
@pytest.mark.parametrize("name", ["wide", "tall", "small", "same"])
def test_the_view_of_clip_is_within_one_level_of_torchvisions(name):
    golden = np.load(SHARED / "golden/family/clip_view.npz")
    image = torch.from_numpy(golden[f"{name}_image"]).permute(2, 0, 1)
    view = CenterCropView(16, resize="shortest_edge", interpolation="bicubic")
    levels = (view([image])[0].permute(1, 2, 0) + 1) * 127.5
    assert np.abs(levels.numpy() - golden[f"{name}_cut"]).max() <= 1.01


@pytest.mark.shared
def test_the_classifier_and_its_logits_equal_those_of_open_clip():
    folder = SHARED / "golden/family/clip_open_clip"
    network, golden = models.load(folder).network.eval(), np.load(folder / "zero_shot.npz")
    with torch.no_grad():
        tokens = torch.from_numpy(golden["input_ids"])  # [C, T, N]
        features = network.encode_text(tokens.flatten(0, 1), normalize=True)
        rows = zero_shot.average_by_class(features, [tokens.shape[1]] * len(tokens))
        assert np.abs(rows.numpy() - golden["rows"]).max() < 2e-5
        pixels = torch.from_numpy(golden["pixel_values"])  # normalized by CLIP's mean and deviation
        mean, std = (torch.tensor(values)[:, None, None] for values in (clip_resnet.CLIP_MEAN, clip_resnet.CLIP_STD))
        images = (pixels * std + mean) * 2 - 1
        logits = 100 * network.encode_image(images, normalize=True) @ rows.T
    assert np.abs(logits.numpy() - golden["logits"]).max() < 2e-3
