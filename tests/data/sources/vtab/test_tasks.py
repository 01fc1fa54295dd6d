"""VTAB-1k's tasks equal the published ones in sizes, classes and views."""

import pytest

from vitrun.config import resolve
from vitrun.data.sources.vtab.builders import BUILDERS, part_slices
from vitrun.data.sources.vtab.keys import PARTS
from vitrun.data.sources.vtab.originals import SPLIT_READERS
from vitrun.papers.vtab_tasks import TASKS
from vitrun.recipes import tables

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


def list_positions(builder: str, part: str) -> list[tuple[str, int]]:
    """Return the split of every image of a part and its position in the order of that split."""
    return [
        (split, n) for split, rows in part_slices(builder, part) for n in range(BUILDERS[builder].splits[split])[rows]
    ]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_task_has_the_published_sizes_group_and_classes(name):
    train, val, test, group, classes = PUBLISHED[name]
    task = TASKS[name]
    assert (task.group, task.classes) == (group, classes)
    assert sum(BUILDERS[task.builder].splits.values()) == train + val + test
    assert [len(list_positions(task.builder, part)) for part in PARTS] == [800, 200, test]
    pool = part_slices(task.builder, "val200")[0]
    assert pool[0] != "train" or pool[1].start == train, "val is what follows train"


def test_there_are_seven_natural_four_specialized_and_eight_structured_tasks():
    groups = [task.group for task in TASKS.values()]
    assert [groups.count(group) for group in ("natural", "specialized", "structured")] == [7, 4, 8]
    assert set(TASKS) == set(PUBLISHED) and {task.builder for task in TASKS.values()} == set(BUILDERS) == set(
        SPLIT_READERS
    )


def test_conf_has_one_row_for_each_task_of_the_table():
    rows = {name for name in tables.list_group_files("data") if name.startswith("vtab/")}
    assert rows == {f"vtab/{name}" for name in TASKS} and tables.read_row("data", "vtab")["tasks"] == list(TASKS)


@pytest.mark.parametrize("builder", BUILDERS)
def test_train_val_and_test_share_no_image(builder):
    train, val, test = (set(list_positions(builder, part)) for part in PARTS)
    assert not train & val and not train & test and not val & test
    assert list_positions(builder, "train800val200") == list_positions(builder, "train800") + list_positions(
        builder, "val200"
    )


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
    row = tables.read_row("data", f"vtab/{name}")
    assert row["task"] == name and row["protocol"] == "vit" and (row["crop"], row["flip"]) == VIEWS[name]


@pytest.mark.parametrize("name", ["caltech101", "snorb_azim", "dmlab", "dspr_loc"])
def test_the_vpt_protocol_uses_whole_images_for_every_task(name, tmp_path):
    recipe = resolve.resolve_recipe(
        "finetune", [f"data=vtab/{name}", f"data.root={tmp_path}", "protocol=vpt_vtab", "init=random:vit_nano8"]
    ).data
    assert (recipe.crop, recipe.flip) == ("none", False)
