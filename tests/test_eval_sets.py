"""Sets to evaluate on: ReaL's lists go by the number in the name, and answers are among the classes that a set has."""

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from vitrun import choices, data, models, run
from vitrun.data import files, imagenet
from vitrun.data.labels import padded
from vitrun.mistakes import Exit, Mistake
from vitrun.models.build import build
from vitrun.views import WholeView

SYNSETS = imagenet.synsets()
LISTS = imagenet.real(None)
NUMBERS = [n for n in range(1, 60) if LISTS[n - 1]][:20] + [n for n in range(1, 99) if not LISTS[n - 1]][:3]
LABELS = [(LISTS[number - 1] or [7])[0] for number in NUMBERS]


def picture(number: int) -> bytes:
    """A small PNG of its own."""
    file = BytesIO()
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def photographs(root: Path, names: list[str], each: int = 1) -> Path:
    """A folder with a folder a class."""
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for n in range(each):
            (root / name / f"{n}.png").write_bytes(picture(number * each + n))
    return root


def validation(root: Path, names: list[str], labels: list[int], **columns) -> Path:
    """A parquet file of ImageNet's validation images by name and label."""
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(SYNSETS))})
    images = [{"bytes": picture(n), "path": name} for n, name in enumerate(names)]
    table = datasets.Dataset.from_dict({"image": images, "label": labels}, features)
    for name, values in columns.items():
        table = table.add_column(name, values)
    root.mkdir(exist_ok=True)
    table.to_parquet(root / "validation-00000-of-00001.parquet")
    return root


def named(number: int) -> str:
    return f"val/ILSVRC2012_val_{number:08d}.JPEG"


def opened(name: str, root: Path, **changes) -> data.Split:
    """What a row of the table reads from a folder."""
    return data.open_split(replace(choices.data_row(name, path=root), **changes), "test")


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> str:
    """The file of a small network with answers in all 1,000 classes of ImageNet."""
    torch.manual_seed(0)
    row = choices.model_rows()["vit_nano8"]
    network = build(row, 1000, 16)
    torch.nn.init.normal_(network.head.weight)
    file = tmp_path_factory.mktemp("thousand") / "thousand.safetensors"
    models.save(file, network, row, 1000, 16)
    return str(file)


def logits(init: str, split: data.Split) -> torch.Tensor:
    """The network's own answers to every image: [N, 1000]."""
    network = models.load(init).network.eval()
    with torch.inference_mode():
        return network(next(data.testing(split, WholeView(16), len(split))).images)


def answered(recipe) -> dict:
    """What a finished ``eval`` wrote of every image."""
    return pyarrow.parquet.read_table(recipe.runs / run.name("eval", recipe) / "preds.parquet").to_pydict()


def lists(split: data.Split) -> dict[str, set[int]]:
    """The labels that count as right, by file name."""
    return {key.split("/")[-1]: {n for n in row if n >= 0} for key, row in zip(split.keys, split.right.tolist())}


def test_the_published_lists_are_as_published():
    empty = sum(not labels for labels in LISTS)
    assert (len(LISTS), empty, max(map(len, LISTS))) == (50_000, 3163, 9)
    assert LISTS[:4] == [[], [970, 795], [230, 231], [809]]
    assert len(SYNSETS) == 1000 and SYNSETS[0] == "n01440764" and list(SYNSETS) == sorted(SYNSETS)
    a, r = imagenet.subset("imagenet_a"), imagenet.subset("imagenet_r")
    assert len(a) == len(r) == 200 and len({*a} & {*r}) == 86 and (np.diff(a) > 0).all() and (np.diff(r) > 0).all()


def test_real_goes_by_the_number_in_the_name_in_any_order(tmp_path):
    order = np.random.default_rng(0).permutation(len(NUMBERS))
    shuffled = validation(tmp_path / "s", [named(NUMBERS[i]) for i in order], [LABELS[i] for i in order])
    straight = validation(tmp_path / "t", [named(number) for number in NUMBERS], LABELS)
    expected = {named(number).split("/")[-1]: set(LISTS[number - 1]) for number in NUMBERS}
    assert lists(opened("imagenet_real", shuffled, test_images=None)) == expected
    assert lists(opened("imagenet_real", straight, test_images=None)) == expected


def test_real_knows_names_with_a_synset_which_is_eight_digits_too(tmp_path):
    names = [f"ILSVRC2012_val_{n:08d}_{SYNSETS[label]}.JPEG" for n, label in zip(NUMBERS, LABELS)]
    split = opened("imagenet_real", validation(tmp_path / "c", names, LABELS), test_images=None)
    assert list(lists(split).values()) == [set(LISTS[number - 1]) for number in NUMBERS]


def test_real_is_the_file_given_then_the_column_then_the_file_beside_the_images(tmp_path):
    own = [[label, 1] for label in LABELS]
    other = LISTS.copy()
    for number, label in zip(NUMBERS, LABELS):
        other[number - 1] = [label, 2]
    names = [named(number) for number in NUMBERS]
    root = validation(tmp_path / "c", names, LABELS, real_labels=own)
    assert opened("imagenet_real", root, test_images=None).accepted[:, 1].tolist() == [1] * len(NUMBERS)
    (tmp_path / "real.json").write_text(json.dumps(other))
    given = opened("imagenet_real", root, test_images=None, real=tmp_path / "real.json")
    assert given.accepted[:, 1].tolist() == [2] * len(NUMBERS)
    beside = validation(tmp_path / "d", names, LABELS)
    (beside / "real.json").write_text(json.dumps(other))
    assert opened("imagenet_real", beside, test_images=None).accepted[:, 1].tolist() == [2] * len(NUMBERS)
    assert len({given.fingerprint, opened("imagenet_real", root, test_images=None).fingerprint}) == 2


# what the copy looks like: names and labels, and a part of the sentence
MISFITS = {
    "names lost": ([f"{n}.JPEG" for n in NUMBERS], LABELS, "/2.JPEG is no name as ILSVRC2012_val_00000001.JPEG"),
    "no names": ([None for _ in NUMBERS], LABELS, "use a copy that kept the file names"),
    "training images": ([f"n01440764_{n}.JPEG" for n in NUMBERS], LABELS, "is no name as"),
    "no such number": ([named(n + 50_000) for n in NUMBERS], LABELS, "is no name as"),
    "shifted by one": ([named(n + 1) for n in NUMBERS], LABELS, "lists and images do not belong together"),
    "labels of another order": ([named(n) for n in NUMBERS], [999 - n for n in LABELS], "do not belong together"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_real_refuses_images_that_its_lists_cannot_be_matched_with(kind, tmp_path):
    names, labels, part = MISFITS[kind]
    with pytest.raises(Mistake) as error:
        opened("imagenet_real", validation(tmp_path / "c", names, labels), test_images=None)
    assert part in str(error.value) and error.value.status == Exit.DATA


@pytest.mark.parametrize("text", ["", "{}", "[[1]]", json.dumps([[1000]] * 50_000), json.dumps([["a"]] * 50_000)])
def test_a_file_that_is_not_reals_is_refused(text, tmp_path):
    root = validation(tmp_path / "c", [named(number) for number in NUMBERS], LABELS)
    (root / "real.json").write_text(text)
    with pytest.raises(Mistake, match="real.json is not ReaL's real.json") as error:
        opened("imagenet_real", root, test_images=None)
    assert error.value.status == Exit.DATA


def test_an_image_without_right_labels_counts_neither_as_right_nor_as_wrong(carry_out, thousand, tmp_path):
    names, labels = [named(number) for number in range(1, 13)], list(range(12))
    likeliest = logits(thousand, opened("imagenet", validation(tmp_path / "a", names, labels), test_images=12)).argmax(
        1
    )
    right = [[int(top), 5] if n < 5 else [(int(top) + 1) % 1000] if n < 8 else [] for n, top in enumerate(likeliest)]
    labels = [(accepted or [7])[0] for accepted in right]
    root = validation(tmp_path / "b", names, labels, real_labels=right)
    words = (f"init={thousand}", f"data.path={root}", "data.test_images=12", "precision=fp32")
    recipe, result = carry_out("eval", "data=imagenet_real", *words)
    assert result["top1"] == 5 / 8 and (result["images_used"], result["images_expected"]) == (8, 12)
    assert "loss" not in result
    answers = answered(recipe)
    assert answers["right"] == right and answers["label"] == labels
    hits = [bool({*top} & {*accepted}) for top, accepted in zip(answers["top5"], right) if accepted]
    assert result["top5"] == pytest.approx(np.mean(hits))

    same, other = (carry_out("eval", "data=imagenet", *words, *more) for more in (["data.labels=real"], []))
    assert same[1] == result, "the word and the row say the same"
    assert (other[1]["top1"], other[1]["images_used"]) == (5 / 12, 12) and other[1]["loss"] > 0


@pytest.mark.shared
def test_475_of_500_real_images_have_labels_and_the_lists_agree(carry_out, shared, thousand):
    root = shared / "data" / "imagenet_real_sample"
    words = ("data=imagenet_real", f"data.path={root}", "data.test=test", "data.test_images=500")
    recipe, result = carry_out("eval", f"init={thousand}", *words)
    assert (result["images_used"], result["images_expected"]) == (475, 500)
    column = files.read(recipe.data, "test")
    numbered = files.read(replace(recipe.data, real=imagenet.shipped("imagenet_real_labels.json")), "test")
    assert lists(column) == lists(numbered)


def test_folders_named_by_numbers_are_in_the_order_of_the_numbers(tmp_path):
    root = photographs(tmp_path / "v2", [str(n) for n in range(12)])
    split = opened("imagenet_v2", root, classes=12, test_images=12)
    assert split.classes == tuple(map(str, range(12)))
    assert [key.split("/")[0] for key in split.keys] == [str(label) for label in split.labels]


@pytest.mark.parametrize("name", ["imagenet_a", "imagenet_r"])
def test_a_model_of_a_thousand_classes_answers_among_the_two_hundred(name, carry_out, thousand, tmp_path):
    chosen = imagenet.subset(name)
    root = photographs(tmp_path / "images", [SYNSETS[label] for label in chosen])
    (root / "README.txt").write_text("as in the archive")
    words = (f"data={name}", f"data.path={root}", "data.test_images=200", "precision=fp32")
    recipe, result = carry_out("eval", f"init={thousand}", *words)
    split = data.open_split(recipe.data, "test")
    assert split.labels.tolist() == list(range(200)) and split.classes == tuple(SYNSETS[label] for label in chosen)
    among = logits(thousand, split)[:, chosen]
    assert answered(recipe)["top5"] == among.topk(5).indices.tolist()
    assert result["top1"] == pytest.approx((among.argmax(1).numpy() == split.labels).mean())
    loss = torch.nn.functional.cross_entropy(among, torch.arange(200))
    assert result["loss"] == pytest.approx(float(loss), rel=1e-4) and result["images_used"] == 200


def test_labels_of_all_of_imagenet_become_places_among_the_two_hundred(tmp_path):
    chosen = imagenet.subset("imagenet_a")
    names = [f"{n}.jpg" for n in range(5)]
    split = opened(
        "imagenet_a", validation(tmp_path / "c", names, chosen[:5].tolist()), test="validation", test_images=5
    )
    assert split.labels.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(Mistake, match="3.jpg is of none of the 200 classes"):
        opened(
            "imagenet_a",
            validation(tmp_path / "d", names, [6, 11, 13, 0, 15]),
            test="validation",
            test_images=5,
        )


def test_a_model_of_other_classes_cannot_answer(carry_out, tmp_path):
    root = photographs(tmp_path / "images", [SYNSETS[label] for label in imagenet.subset("imagenet_a")])
    with pytest.raises(Mistake, match=r"has a head of 1 classes, but imagenet_a has 200: .*data=imagenet\)"):
        carry_out("eval", "init=random:vit_nano8", "data=imagenet_a", f"data.path={root}", "data.test_images=200")


@pytest.fixture
def objectnet(tmp_path) -> Path:
    """ObjectNet as its archive has it, small: four folders, of which three are ImageNet's, by four of its classes."""
    root = tmp_path / "objectnet-1.0"
    photographs(root / "images", ["air_freshener", "bench", "chair", "teapot"], each=6)
    (root / "mappings").mkdir()
    titles = {"air_freshener": "Air freshener", "bench": "Bench", "chair": "Chair", "teapot": "Teapot"}
    shared = {"Chair": "label 20, seat; label 30", "Bench": "label 10", "Teapot": "label 40"}
    lines = [f"label {n}{', seat' * (n == 20)}" for n in range(1000)]  # in the order of 2012, here one further
    files = {
        "folder_to_objectnet_label.json": json.dumps(titles),
        "objectnet_to_imagenet_1k.json": json.dumps(shared),
        "pytorch_to_imagenet_2012_id.json": json.dumps({str(n): (n + 1) % 1000 for n in range(1000)}),
        "imagenet_to_label_2012_v2": "\n".join(lines) + "\n",
    }
    for name, text in files.items():
        (root / "mappings" / name).write_text(text)
    return root


def test_an_answer_on_objectnet_is_right_by_any_of_the_classes_that_stand_for_its_own(carry_out, thousand, objectnet):
    words = ("data=objectnet", f"data.path={objectnet}", "data.classes=3", "precision=fp32")
    recipe, result = carry_out("eval", f"init={thousand}", *words)
    split = data.open_split(recipe.data, "test")
    assert split.classes == ("bench", "chair", "teapot") and np.bincount(split.labels).tolist() == [6, 6, 6]
    assert [set(row) for row in split.among.tolist()] == [{9}, {19, 29}, {39}]
    asked = np.array([9, 19, 29, 39])
    own = np.array([0, 1, 1, 2])[logits(thousand, split)[:, asked].argmax(1)]
    assert result["top1"] == pytest.approx((own == split.labels).mean())
    assert result["images_used"] == result["images_expected"] == 18


def test_objectnet_without_its_mappings_says_what_is_missing(objectnet):
    (objectnet / "mappings" / "objectnet_to_imagenet_1k.json").unlink()
    with pytest.raises(Mistake, match=r"objectnet_to_imagenet_1k.json.*with images and mappings") as error:
        opened("objectnet", objectnet)
    assert error.value.status == Exit.DATA


def test_lists_of_any_length_fill_one_array():
    assert padded([[], [3], [1, 2]]).tolist() == [[-1, -1], [3, -1], [1, 2]] and padded([[]]).shape == (1, 1)
