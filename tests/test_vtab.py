"""VTAB-1k is the published one: order, slices, labels and views against values from elsewhere."""

import hashlib
import json
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
from originals import caltech101
from PIL import Image
from scipy.io import savemat

from vitrun import choices, data, run, start
from vitrun.data.originals import ORIGINALS, labels
from vitrun.data.splits import Split
from vitrun.data.table import main as check_data
from vitrun.data.vtab import read_part
from vitrun.data.vtab.keys import KNOWN, PARTS, published_keys, published_parts
from vitrun.data.vtab.order import tfds_order
from vitrun.data.vtab.tasks import BUILDERS, TASKS, slices
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen


def eurosat(*names: str) -> list[str]:
    return [f"{name.partition('_')[0]}_{name}.jpg" for name in names]


def resisc(*names: str) -> list[str]:
    return [f"{name.rpartition('_')[0]}_{name}.jpg" for name in names]


# The first keys of train800, val200 and test, and the first 16 hex digits of the SHA-256 of each part's keys, a line
# each. EuroSAT and Resisc45 take their files to be numbered from 1. scripts/check_vtab_order.py compares whole orders
# with those of TFDS's own hasher.
GOLDEN = {
    "cifar100": (
        ["16399", "1680", "47917", "17307", "27051"], "5b25ee0661c3bc4a",
        ["13431", "9237", "17462", "32685", "9518"], "93377e439662509b",
        ["9933", "5669", "163"], "aa6d3ee41c0a810e",
    ),
    "svhn_cropped": (
        ["16399", "1680", "47917", "17307", "27051"], "901fe4f6d4f65bc8",
        ["21145", "64736", "23870", "1919", "26393"], "36ae944d2e322a4f",
        ["23018", "16932", "19084"], "40b99c89fb133426",
    ),
    "dsprites": (
        ["16399", "634903", "206287", "470425", "352707"], "54130b46ffd22579",
        ["220697", "85843", "84902", "106270", "175044"], "86005e8c04783edc",
        ["493443", "195884", "225768"], "047f98bb94c6f871",
    ),
    "smallnorb": (
        ["16399", "1680", "17307", "1456", "19135"], "438b845e2bd4a468",
        ["23018", "16932", "19084", "9933", "24157"], "d9fca0e85af945f0",
        ["299", "2838", "15595"], "f5e0032ca6dc71ce",
    ),
    "patch_camelyon": (
        [f"train_{n}" for n in (251464, 132287, 133786, 86259, 230288)], "c1122cb7e413b8b3",
        [f"valid_{n}" for n in (3270, 10310, 20603, 11608, 13337)], "b3998b44bc8423a1",
        [f"test_{n}" for n in (11072, 27274, 8313)], "57bf9b06b6104a9f",
    ),
    "clevr": (
        [f"CLEVR_train_{n:06d}.png" for n in (43876, 33421, 62025, 21419, 4851)], "5dc1033102716488",
        [f"CLEVR_train_{n:06d}.png" for n in (35084, 29360, 4525, 24831, 21255)], "9a9150228251ccef",
        [f"CLEVR_val_{n:06d}.png" for n in (11736, 5989, 8130)], "4952b4e50300bca1",
    ),
    "eurosat": (
        eurosat("Forest_687", "Residential_188", "HerbaceousVegetation_1056", "Residential_1762", "Forest_943"),
        "7dac90dec1b73063",
        eurosat("SeaLake_804", "Forest_1554", "River_2237", "HerbaceousVegetation_2066", "SeaLake_2452"),
        "5c9a3ab3702faf20",
        eurosat("Pasture_1875", "Residential_150", "AnnualCrop_1282"), "244a530e55bd9aff",
    ),
    "resisc45": (
        resisc("dense_residential_068", "palace_207", "golf_course_450", "tennis_court_572", "runway_596"),
        "7c42d524f21f8a68",
        resisc("cloud_238", "roundabout_303", "dense_residential_278", "dense_residential_209", "parking_lot_294"),
        "2a2bb0da49b4bb17",
        resisc("tennis_court_586", "golf_course_556", "freeway_563"), "6588d8e91cd5eca4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("builder", GOLDEN)
def test_the_keys_of_a_part_are_the_published_ones_in_the_published_order(builder):
    golden, found = iter(GOLDEN[builder]), published_parts(builder)
    for part in PARTS:
        first, code = next(golden), next(golden)
        assert found[part][: len(first)] == first, part
        assert hashlib.sha256("\n".join(found[part]).encode()).hexdigest()[:16] == code, part


def test_every_order_that_names_alone_tell_has_a_golden_value():
    assert set(GOLDEN) == set(KNOWN)


def test_the_order_is_that_which_a_build_of_tfds_printed_for_cifar10():
    printed = [16399, 1680, 47917, 17307, 27051, 48736, 26263, 1456, 19135, 31598, 12970, 4223]
    assert tfds_order([str(n) for n in range(50000)], "train")[:12].tolist() == printed


def test_a_key_is_hashed_as_tfds_hashes_it():
    def digest(key: str | bytes) -> int:
        return int(hashlib.md5(b"test" + (key if isinstance(key, bytes) else key.encode())).hexdigest(), 16)

    keys = ["a/b.jpg", "é.jpg", b"c\\d", "7", *(f"k{n}" for n in range(50))]
    assert tfds_order(keys, "test").tolist() == sorted(range(len(keys)), key=lambda row: digest(keys[row]))
    both = tfds_order(["a\\b.jpg", "x", "y"], "test").tolist()
    assert both == tfds_order(["a/b.jpg", "x", "y"], "test").tolist(), "a backslash in text counts as a slash"


# VTAB's published sizes of train, val and test (task_adaptation, data/*_test.py), group and classes
PUBLISHED = {
    "caltech101": (2754, 306, 6084, "natural", 102),
    "cifar100": (45000, 5000, 10000, "natural", 100),
    "dtd": (1880, 1880, 1880, "natural", 47),
    "flowers102": (1020, 1020, 6149, "natural", 102),
    "pets": (2944, 736, 3669, "natural", 37),
    "sun397": (76128, 10875, 21750, "natural", 397),
    "svhn": (65931, 7326, 26032, "natural", 10),
    "camelyon": (262144, 32768, 32768, "specialized", 2),
    "eurosat": (16200, 5400, 5400, "specialized", 10),
    "resisc45": (18900, 6300, 6300, "specialized", 45),
    "retinopathy": (35126, 10906, 42670, "specialized", 5),
    "clevr_count": (63000, 7000, 15000, "structured", 8),
    "clevr_dist": (63000, 7000, 15000, "structured", 6),
    "dmlab": (65550, 22628, 22735, "structured", 6),
    "dspr_loc": (589824, 73728, 73728, "structured", 16),
    "dspr_ori": (589824, 73728, 73728, "structured", 16),
    "kitti_dist": (6347, 423, 711, "structured", 4),
    "snorb_azim": (24300, 12150, 12150, "structured", 18),
    "snorb_elev": (24300, 12150, 12150, "structured", 9),
}


def positions(builder: str, part: str) -> list[tuple[str, int]]:
    """The split and the place in its order of every image of a part."""
    return [(split, n) for split, rows in slices(builder, part) for n in range(BUILDERS[builder].splits[split])[rows]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_task_has_the_published_sizes_group_and_classes(name):
    train, val, test, group, classes = PUBLISHED[name]
    task = TASKS[name]
    assert (task.group, task.classes) == (group, classes)
    assert sum(BUILDERS[task.builder].splits.values()) == train + val + test
    assert [len(positions(task.builder, part)) for part in PARTS] == [800, 200, test]
    pool = slices(task.builder, "val200")[0]
    assert pool[0] != "train" or pool[1].start == train, "val is what follows train"


def test_there_are_seven_natural_four_specialized_and_eight_structured_tasks():
    groups = [task.group for task in TASKS.values()]
    assert [groups.count(group) for group in ("natural", "specialized", "structured")] == [7, 4, 8]
    assert set(TASKS) == set(PUBLISHED) and {task.builder for task in TASKS.values()} == set(BUILDERS) == set(ORIGINALS)


@pytest.mark.parametrize("builder", BUILDERS)
def test_train_val_and_test_share_no_image(builder):
    train, val, test = (set(positions(builder, part)) for part in PARTS)
    assert not train & val and not train & test and not val & test
    assert positions(builder, "train800val200") == positions(builder, "train800") + positions(builder, "val200")


# scenic, projects/baselines/plainvit/configs/vtab_plainvit_config.py: random crop, flip
CROPPED = (
    "caltech101", "retinopathy", "dtd", "flowers102", "pets", "resisc45", "sun397", "cifar100", "eurosat", "camelyon",
    "snorb_elev", "svhn",
)  # fmt: skip
VIEWS = {
    **dict.fromkeys(CROPPED, ("square", True)),
    **dict.fromkeys(["dspr_ori", "snorb_azim"], ("square", False)),
    **dict.fromkeys(["clevr_dist", "clevr_count", "dmlab", "kitti_dist"], ("none", True)),
    "dspr_loc": ("none", False),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_cropped_and_mirrored_as_published_and_never_where_that_would_break_its_label(name):
    row = choices.read_row("data", f"vtab/{name}")
    assert row["task"] == name and row["protocol"] == "vit" and (row["crop"], row["flip"]) == VIEWS[name]


@pytest.mark.parametrize("name", ["caltech101", "snorb_azim", "dmlab", "dspr_loc"])
def test_visual_prompt_tuning_sees_whole_images_of_every_task(name, tmp_path):
    recipe = start.load(
        "finetune", [f"data=vtab/{name}", f"data.root={tmp_path}", "protocol=vpt", "init=random:vit_nano8"]
    ).data
    assert (recipe.crop, recipe.flip) == ("none", False)


def test_the_bins_of_dsprites_are_those_of_the_published_thousand():
    rows = np.array([int(key) for part in ("train800", "val200") for key in published_parts("dsprites")[part]])
    assert np.bincount(labels.dsprites_orientation(rows)).tolist() == [
        74, 56, 75, 58, 68, 55, 73, 51, 79, 48, 75, 50, 67, 40, 78, 53
    ]  # fmt: skip
    assert np.bincount(labels.dsprites_x_position(rows)).tolist() == [
        68, 53, 57, 54, 60, 62, 62, 63, 69, 65, 63, 68, 66, 60, 69, 61
    ]  # fmt: skip


def test_a_dsprites_row_counts_y_fastest_then_x_orientation_scale_and_shape():
    rows = [0, 1, 32, 32 * 32, 32 * 32 * 40, 32 * 32 * 40 * 6, 737279]
    expected = [
        (0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 0), (0, 0, 1, 0, 0), (0, 1, 0, 0, 0), (1, 0, 0, 0, 0),
        (2, 5, 39, 31, 31),
    ]  # fmt: skip
    assert list(zip(*(factor.tolist() for factor in labels.dsprites_factors(rows)))) == expected
    turned = labels.dsprites_orientation(np.arange(40) * 1024)
    assert turned.tolist() == [int(n / 2.5) for n in range(40)] and turned[-1] == 15
    assert labels.dsprites_x_position(np.arange(32) * 32).tolist() == [n // 2 for n in range(32)]


def test_eurosat_has_the_classes_of_the_published_thousand():
    found = [key.split("_")[0] for part in ("train800", "val200") for key in published_parts("eurosat")[part]]
    assert {name: found.count(name) for name in set(found)} == {
        "HerbaceousVegetation": 119, "Residential": 118, "Forest": 116, "AnnualCrop": 107, "SeaLake": 105,
        "Highway": 96, "Industrial": 95, "River": 94, "PermanentCrop": 92, "Pasture": 58,
    }  # fmt: skip


def around(edge: float) -> list[float]:
    """The float32 numbers just below, at and just above an edge."""
    return [float(np.nextafter(np.float32(edge), np.float32(side))) for side in (-np.inf, edge, np.inf)]


@pytest.mark.parametrize("edge, below", [(8.0, 0), (8.5, 1), (9.0, 2), (9.5, 3), (10.0, 4)])
def test_a_clevr_distance_belongs_to_the_class_of_the_largest_edge_strictly_below_it(edge, below):
    assert labels.clevr_distance([[99, depth, 50] for depth in around(edge)]).tolist() == [below, below, below + 1]
    assert labels.clevr_distance([[edge + 1e-9]]).tolist() == [below], "compared in float32"


def test_clevr_has_classes_at_its_ends_and_counts_from_three():
    assert labels.clevr_distance([[0.1], [99.0]]).tolist() == [0, 5]
    assert labels.clevr_count(np.arange(3, 11)).tolist() == list(range(8)) == list(range(len(labels.CLEVR_COUNTS)))
    assert len(labels.CLEVR_DISTANCES) == 6


@pytest.mark.parametrize("edge, below", [(8.0, 0), (20.0, 1)])
def test_a_kitti_distance_belongs_to_the_class_of_the_largest_edge_strictly_below_it(edge, below):
    assert labels.kitti_distance([[500, depth] for depth in around(edge)]).tolist() == [below, below, below + 1]


def test_a_kitti_image_without_a_vehicle_is_a_class_of_its_own():
    assert labels.kitti_distance([[], [998.0], [-3.0, 50.0]]).tolist() == [3, 2, 0]
    assert len(labels.KITTI_DISTANCES) == 4 and labels.KITTI_VEHICLES == ("Car", "Van", "Truck")


def test_the_remaining_labels_are_counted_as_vtab_counts_them():
    info = np.array([[4, 0, 0, 1], [9, 8, 34, 5], [6, 3, 14, 0]], dtype=np.int32)
    assert labels.smallnorb_elevation(info).tolist() == [0, 8, 3]
    assert labels.smallnorb_azimuth(info).tolist() == [0, 17, 7]
    assert labels.svhn(np.array([[10], [1], [9]], dtype=np.uint8)).tolist() == [0, 1, 9]
    assert labels.from_one(np.array([[1, 102]], dtype=np.uint8)).tolist() == [0, 101]
    assert len(labels.ELEVATIONS) == 9 and len(labels.AZIMUTHS) == 18 and len(labels.DSPRITES_BINS) == 16


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_an_original_may_hold_pixels_grey_ones_for_all_three_channels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Split(["k"], np.zeros(1, np.int64), ("a",), encoded=lambda index: pixels).decode(0)
    expected = pixels if len(shape) == 3 else np.stack([pixels] * 3, 2)
    assert image.shape == (3, 4, 6) and (image == expected.transpose(2, 0, 1)).all()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with all of Flowers102 and of EuroSAT by name and label, a colour a class; every other is missing."""
    root = tmp_path_factory.mktemp("originals")
    colours = []
    for label in range(102):
        colours.append(root / f"{label}.jpg")
        Image.new("RGB", (8, 8), (label, 2 * label, 255 - label)).save(colours[-1], quality=95)
    flowers = root / "oxford_flowers102"
    (flowers / "jpg").mkdir(parents=True)
    found = np.arange(8189) % 102
    for n, label in enumerate(found, 1):
        os.link(colours[label], flowers / "jpg" / f"image_{n:05d}.jpg")
    order = np.random.default_rng(0).permutation(np.arange(1, 8190, dtype=np.uint16))
    savemat(flowers / "imagelabels.mat", {"labels": (found + 1).astype(np.uint8)[None]})
    savemat(
        flowers / "setid.mat",
        {"trnid": order[None, :1020], "valid": order[None, 1020:2040], "tstid": order[None, 2040:]},
    )
    for key in published_keys("eurosat", "train"):
        name, _, file = key.partition("_")
        (root / "eurosat" / "2750" / name).mkdir(parents=True, exist_ok=True)
        os.link(colours[0], root / "eurosat" / "2750" / name / file)
    return root


def test_a_task_is_opened_in_order_with_its_labels_and_the_classes_that_are_absent(root):
    recipe = start.load("pretrain", ["data=vtab/flowers102", f"data.root={root}"]).data
    train, test = (data.open_split(recipe, part) for part in ("train", "test"))
    assert (len(train), len(test), len(train.classes)) == (1000, 6149, 102) and train.where
    assert not set(train.keys) & set(test.keys) and len(set(train.keys)) == 1000
    assert [key.split("/")[0] for key in train.keys] == ["train"] * 800 + ["validation"] * 200
    names = [key.split("/")[1] for key in train.keys]
    assert sorted(names[:800], key=lambda key: hashlib.md5(b"train" + key.encode()).hexdigest()) == names[:800]
    numbers = np.array([int(name[6:11]) for name in names])
    assert (train.labels == (numbers - 1) % 102).all()
    colours = train.pixels.float().mean((2, 3))[:, 0].round().numpy()
    assert np.abs(colours - train.labels).max() <= 3, "each image comes with its own label"


def test_a_learning_rate_is_chosen_on_images_that_are_not_trained_on(root, carry_out):
    words = [
        "data=vtab/flowers102",
        f"data.path={root / 'oxford_flowers102'}",
        "data.train=train800",
        "data.test=val200",
    ]
    recipe, result = carry_out(
        "finetune", "init=random:vit_nano8", "res=32", "steps=2", "epochs=null", "warmup=0", *words
    )
    assert result["test_images"] == 200 and "-vtab_flowers102-" in run.name("finetune", recipe)
    log = (recipe.runs / run.name("finetune", recipe) / "log.txt").read_text()
    assert "800 training and 200 test images, 102 classes" in log and f"from {root / 'oxford_flowers102'}" in log


def test_an_incomplete_original_is_refused_since_its_order_is_another(root, tmp_path):
    some = tmp_path / "2750"
    for name in {key.split("_")[0] for key in published_keys("eurosat", "train")}:
        (some / name).mkdir(parents=True)
        os.link(root / "0.jpg", some / name / f"{name}_1.jpg")
    with pytest.raises(
        Mistake, match="10 images of 10 classes, but the published train split of eurosat has 27000"
    ) as error:
        read_part(TASKS["eurosat"], tmp_path, "train800")
    assert error.value.status == Exit.DATA


def test_a_partition_that_no_file_tells_is_drawn_and_said_to_be(tmp_path, capsys):
    caltech101(tmp_path / "caltech101")
    for part in ("train", "test"):
        (tmp_path / "caltech101" / f"caltech101_{part}.txt").unlink()
    images = tmp_path / "caltech101" / "101_ObjectCategories"
    for place in images.glob("thing_*"):
        for n in range(1, 32):
            os.link(images / "Faces" / "image_0001.jpg", place / f"image_{n:04d}.jpg")
    drawn = read_part(TASKS["caltech101"], tmp_path / "caltech101", "train800val200")
    assert len(drawn) == 1000 and "not known to be the published one" in drawn.where
    said, splits = check(tmp_path, tmp_path / "splits.json", capsys)
    assert row(said, "caltech101")[1] == "cannot be known from this copy" and splits["caltech101"]["test"] is None


def check(root: Path, save: Path, capsys) -> tuple[str, dict]:
    """What ``vitrun data root=`` says and writes."""
    recipe = start.load("data", [f"root={root}", f"save={save}"])
    try:
        check_data(recipe, Screen())
    finally:
        said = capsys.readouterr().out
    return said, json.loads(save.read_text())


def row(said: str, task: str) -> list[str]:
    return next([cell.strip() for cell in line.split("|")[4:6]] for line in said.splitlines() if f"| {task} " in line)


def test_the_check_says_what_is_there_what_is_exact_and_what_is_missing(root, tmp_path, capsys):
    said, splits = check(root, tmp_path / "splits.json", capsys)
    assert row(said, "eurosat") == ["27000", "exact"]
    assert row(said, "flowers102") == ["1020, 1020, 6149", "order computed, no published check value"]
    assert row(said, "clevr_dist") == ["missing", "known without its images"] and row(said, "dtd") == ["missing", "-"]
    assert "2 of 19 tasks found" in said and "https://cs.stanford.edu/people/jcjohns/clevr" in said
    assert f"{root / 'dtd'}" in said and "no such folder" in said
    assert len(splits) == 19 and len(splits["flowers102"]["test"]) == 6149 and splits["dtd"]["train800"] is None
    assert splits["cifar100"]["train800"][:2] == ["16399", "1680"]


def test_the_keys_of_eleven_tasks_are_written_without_any_image(tmp_path, capsys):
    said, splits = check(tmp_path, tmp_path / "splits.json", capsys)
    assert "0 of 19 tasks found" in said and "keys of 11" in said
    assert sum(task["test"] is not None for task in splits.values()) == 11


def test_an_original_with_other_names_differs_and_the_check_fails(root, tmp_path, capsys):
    place = tmp_path / "originals" / "eurosat"
    place.parent.mkdir()
    os.symlink(root / "eurosat", place)
    file = place / "2750" / "Forest" / "Forest_1.jpg"
    file.rename(file.with_name("Forest_3001.jpg"))
    try:
        with pytest.raises(Mistake, match="not what is published, as said above: eurosat") as error:
            check(place.parent, tmp_path / "splits.json", capsys)
    finally:
        file.with_name("Forest_3001.jpg").rename(file)
    assert error.value.status == Exit.DATA


def test_an_original_that_is_not_whole_is_told_from_one_that_is_missing(tmp_path, capsys):
    (tmp_path / "kitti" / "mapping").mkdir(parents=True)
    with pytest.raises(Mistake, match="not what is published, as said above: kitti") as error:
        check_data(start.load("data", [f"root={tmp_path}", f"save={tmp_path / 'splits.json'}"]), Screen())
    said = capsys.readouterr().out
    assert row(said, "kitti_dist") == ["not whole", "-"] and row(said, "dmlab") == ["missing", "-"]
    assert error.value.status == Exit.DATA


def test_the_check_of_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(Mistake, match="there is no folder") as error:
        check_data(start.load("data", [f"root={tmp_path / 'nowhere'}"]), Screen())
    assert error.value.status == Exit.DATA


def test_a_copy_in_parquet_is_ordered_by_the_names_of_its_images_and_says_where_it_differs(root, tmp_path, capsys):
    image, classes = (root / "0.jpg").read_bytes(), [f"class {n:03d}" for n in range(102)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=classes)})
    for split, number in (("train", 30), ("test", 2)):
        names = [f"101_ObjectCategories/{name}/image_{n:04d}.jpg" for name in classes for n in range(number)]
        rows = {"image": [{"bytes": image, "path": name} for name in names]}
        rows["label"] = [label for label in range(102) for _ in range(number)]
        (tmp_path / "caltech101").mkdir(exist_ok=True)
        table = datasets.Dataset.from_dict(rows, features)
        table.to_parquet(tmp_path / "caltech101" / f"{split}-00000-of-00001.parquet")
    train, test = (read_part(TASKS["caltech101"], tmp_path / "caltech101", part) for part in ("train800", "test"))
    every = [f"{name}/image_{n:04d}.jpg" for name in classes for n in range(30)]
    assert list(train.keys) == [f"train/{every[row]}" for row in tfds_order(every, "train")[:800]]
    assert train.labels.tolist() == [classes.index(key.split("/")[1]) for key in train.keys]
    assert len(test) == 204 and "differs from the published split of 6084" in test.where
    with pytest.raises(Mistake, match="not what is published, as said above: caltech101"):
        check_data(start.load("data", [f"root={tmp_path}", f"save={tmp_path / 'splits.json'}"]), Screen())
    assert row(capsys.readouterr().out, "caltech101") == ["3060, 204 (published 6084)", "differs"]
    with pytest.raises(Mistake, match="a copy in parquet, from which the keys of clevr do not follow"):
        read_part(TASKS["clevr_count"], tmp_path / "caltech101", "train800")
