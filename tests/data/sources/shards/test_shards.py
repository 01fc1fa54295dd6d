"""Web shards: reading images and labels, every image once an epoch, and the errors for bad shards."""

import json
import os

import numpy as np
import pyarrow.parquet
import pytest
import torch

from helpers.overrides import TINY
from helpers.tars import expect_data_error, make_coloured_image, make_sample, open_shards, write_tar
from vitrun import data
from vitrun.config import resolve
from vitrun.data.sources.shards.locate import expand_ranges
from vitrun.errors import UserError
from vitrun.runs import run
from vitrun.runtime.console import Screen


def test_images_labels_and_names_are_read_from_shards(tmp_path):
    kinds = ["jpeg", "png", "webp", "jpeg"]
    names = ["deep/a.b/one.jpg", "deep/two.png", "three.WEBP", "four.jpeg"]
    pictures = [make_coloured_image(n, kind, 16 + n) for n, kind in enumerate(kinds)]
    files = [
        f for n, name in enumerate(names)
        for f in ((f"{name.rpartition('.')[0]}.cls", b"%d\n" % n), (name, pictures[n]), ("__notes", b"no sample"))
    ]  # fmt: skip
    write_tar(tmp_path / "train-0.tar", files)
    split = open_shards(tmp_path, "train")
    assert list(split.keys) == [f"train-0.tar/{name}" for name in ("deep/a.b/one", "deep/two", "three", "four")]
    assert split.keys[-1] == split.keys[3:][0] and len(split.keys) == 4 and split.classes == tuple("01234")
    assert split.targets(np.array([3, 1])).tolist() == [3, 1] and split.targets(np.array([0])).dtype == torch.int64
    assert [split.read_encoded(n) for n in range(4)] == pictures
    assert (split.decode(1) == np.array([7, 1, 80])[:, None, None]).all()


def test_an_index_is_written_once_and_again_when_a_shard_changes(shards):
    first = open_shards(shards, "train")
    (folder,) = (shards / ".vitrun-index").iterdir()
    modified = folder.stat().st_mtime_ns
    again = open_shards(shards, "train")
    assert [f.stat().st_mtime_ns for f in (shards / ".vitrun-index").iterdir()] == [modified]
    assert again.fingerprint == first.fingerprint and list(again.keys) == list(first.keys)
    os.utime(shards / "train-0.tar", ns=(0, 0))
    assert open_shards(shards, "train").fingerprint == first.fingerprint, "the time of a file is not its content"
    write_tar(shards / "train-1.tar", make_sample(99))
    changed = open_shards(shards, "train")
    assert len(changed) == 23 and changed.fingerprint != first.fingerprint
    state, content = (shards / "train-1.tar").stat(), bytearray((shards / "train-1.tar").read_bytes())
    content[content.index(b"0099.cls") + 512] = ord("3")  # after the header of the member; it was 4
    (shards / "train-1.tar").write_bytes(content)
    os.utime(shards / "train-1.tar", ns=(state.st_atime_ns, state.st_mtime_ns))
    relabelled = open_shards(shards, "train")
    assert relabelled.labels.tolist() != changed.labels.tolist(), "a shard of equal size and time is indexed again"
    newest = max((shards / ".vitrun-index").iterdir(), key=lambda f: f.stat().st_mtime_ns)
    labels = bytearray((newest / "labels.npy").read_bytes())
    labels[-4] ^= 1
    (newest / "labels.npy").write_bytes(labels)
    assert "delete it" in expect_data_error(shards)
    (newest / "offsets.npy").write_bytes(b"half")
    assert "delete it" in expect_data_error(shards)


def test_ranges_expand_to_shards_in_order_and_missing_ones_are_an_error(shards):
    assert expand_ranges("a-{08..11}-{0..1}.tar") == [f"a-{n}-{m}.tar" for n in ("08", "09", "10", "11") for m in "01"]
    assert len(open_shards(shards, "train", "data.train=train-{0..1}.tar")) == 17
    assert "lacks 2 of the 5 shards, train-3.tar first" in expect_data_error(shards, "data.train=train-{0..4}.tar")
    assert "lacks all of t-*.tar; it has train-0.tar" in expect_data_error(shards, "data.train=t-*.tar")
    for overrides in (["data.train=*.tar"], ["data.train=**/*.tar", "data.test=./val-0.tar"]):
        assert "val-0.tar is both a training and a test shard" in expect_data_error(shards, *overrides)
    for shard in shards.glob("train-*.tar"):
        shard.unlink()
    assert len(open_shards(shards, "test")) == 6, "a test needs no training shards"


OVERRIDES = ("model=vit_nano8", "data=shards", "data.classes=5", "batch=8", "steps=3", "warmup=1", "data.buffer=6")


def test_shards_are_trained_on_by_one_override(run_command, shards):
    recipe, result = run_command("pretrain", *OVERRIDES, f"data.path={shards}")
    assert result["test_images"] == 6 and result["steps"] == 3
    facts = json.loads((recipe.runs / run.run_name("pretrain", recipe) / "about.json").read_text())
    assert facts["train_data"] == open_shards(shards, "train").fingerprint


def test_a_dry_run_does_not_index_shards_of_published_sizes(run_command, shards):
    overrides = (*OVERRIDES, f"data.path={shards}", "data.train_images=29", "data.test_images=6")
    run_command("pretrain", *overrides, dry=True)
    assert not (shards / ".vitrun-index").exists()
    with pytest.raises(UserError, match="lacks all of"):
        run_command("pretrain", *overrides, "data.train=nothing*.tar", dry=True)


def test_evaluation_needs_no_training_shards(run_command, tmp_path):
    for number in range(2):
        samples = [file for n in range(5) for file in make_sample(5 * number + n)]
        write_tar(tmp_path / "set" / f"imagenet-train-{number}.tar", samples)
    run_command("pretrain", *TINY, "data.target=count")
    overrides = ["data=shards", f"data.path={tmp_path / 'set'}", "data.test=*.tar", "data.classes=5"]
    _, result = run_command("eval", *overrides)
    assert result["images_used"] == 10
    with pytest.raises(UserError, match="is both a training and a test shard"):
        run_command("finetune", *overrides, "steps=1", "warmup=0")


def test_images_with_several_labels_require_the_sigmoid_loss(run_command, tmp_path):
    labels = [[n % 5] if n % 3 else [n % 5, (n + 2) % 5, n % 5] for n in range(30)]
    write_tar(tmp_path / "set" / "train.tar", [f for n in range(24) for f in make_sample(n, labels[n])])
    write_tar(tmp_path / "set" / "val.tar", [f for n in range(24, 30) for f in make_sample(n, labels[n])])
    overrides = (*OVERRIDES, f"data.path={tmp_path / 'set'}", "data.label=labels")
    assert open_shards(tmp_path / "set", "train", "data.label=labels").labels[:3].tolist() == [[0, 2], [1, -1], [2, -1]]
    with pytest.raises(UserError, match="use loss=sigmoid"):
        run_command("pretrain", *overrides)
    _, masked = run_command("pretrain", *overrides, "objective=masked")
    assert masked["test_images"] == 6, "without labels it does not matter how many there are"
    run_command("pretrain", *overrides, "loss=sigmoid")
    recipe, result = run_command("eval")
    answers = pyarrow.parquet.read_table(recipe.runs / run.run_name("eval", recipe) / "preds.parquet").to_pydict()
    assert sorted(map(len, answers["label"])) == [1, 1, 1, 1, 2, 2], "as many as each has"
    right = [top[0] in label for label, top in zip(answers["label"], answers["top5"])]
    assert result["images_used"] == 6 and np.mean(right) == pytest.approx(result["top1"])
    with pytest.raises(UserError, match="several labels"):
        run_command("fewshot", f"data.path={tmp_path / 'set'}", "data=shards", "data.label=labels", "data.classes=5")


ONE = [("a.png", make_coloured_image(1)), ("a.cls", b"1")]
MANY = json.dumps({"many": [*range(1001)]}).encode()
# files in the shard, overrides, part of the message
WRONG = [
    ([], [], "has no images"),
    ([("a.png", make_coloured_image(1))], [], "a has no label: it has png, but no cls"),
    ([("a.png", make_coloured_image(1)), ("a.json", b"{}")], ["data.label=label"], "a.json has no field 'label'"),
    ([("a.png", make_coloured_image(1)), ("a.json", b"[")], ["data.label=label"], "it is not a json object"),
    ([("a.png", make_coloured_image(1)), ("a.json", b'{"label": []}')], ["data.label=label"], "the label of a is []"),
    ([("a.png", make_coloured_image(1)), ("a.json", b'{"label": -1}')], ["data.label=label"], "the label of a is -1"),
    ([("a.cls", b"1")], [], "a has no image: it has cls, but none of jpg"),
    ([("a.png", make_coloured_image(1)), ("a.cls", b"cat")], [], "the label of a is 'cat'"),
    ([*ONE, *ONE], [], "a.png is in it twice"),
    (
        [("a.png", make_coloured_image(1)), ("a.cls", b"5")],
        [],
        "train.tar/a has the label 5. Set the number of classes: data.classes=6",
    ),
    ([("a.png", b"<html>"), ("a.cls", b"1")], [], "train.tar/a is not a readable image"),
    ([ONE[0], ("b.png", b""), ONE[1], ("b.cls", b"1")], [], "the files of a are not side by side"),
    ([("a.jpg", b""), *ONE], [], "a has several images: choose one of jpg, png by data.image=jpg"),
    ([("a.left.png", b""), ("a.right.png", b""), ("a.cls", b"1")], [], "Name what to read: data.image=left.png"),
    ([("a.in.jpg", b""), ("a.out.cls", b"1")], [], "data.image=in.jpg data.label=out.cls"),
    ([(f"a.v1.{n}.{e}", b"1") for n in "01" for e in ("jpg", "cls")], [], "name ends at its first dot"),
    ([("a.png", b""), ("a.txt", b"1")], [], "Choose where its number is: data.label=txt"),
    ([("a.png", b""), ("a.txt", b"ant")], [], "Its txt is 'ant', but a label must be an integer from 0"),
    ([("a.png", b""), ("a.json", b'{"class": "ant"}')], [], 'Its json is \'{"class": "ant"}\', but a label'),
    ([*ONE, ("b" * 70_000 + ".png", b"")], [], "a name of 70,004 characters (bbbbbbbbbbbbbbbbbbbb...)"),
    ([ONE[0], ("a.cls", b"1" * (2**26 + 1))], [], "has 67 MB: make the shard again"),
    ([ONE[0], ("a.json", MANY)], ["data.label=many"], "1,001 labels"),
    (ONE, ["data.image=jpg"], "a has no jpg, which data.image names: it has png, cls"),
]


@pytest.mark.parametrize("files, overrides, message", WRONG, ids=[message for *_, message in WRONG])
def test_the_error_says_what_is_wrong_with_a_shard(files, overrides, message, tmp_path):
    write_tar(tmp_path / "train.tar", files)
    assert message in expect_data_error(tmp_path, *overrides)


def test_a_truncated_shard_is_refused(shards):
    content = (shards / "train-1.tar").read_bytes()
    end = content.rstrip(b"\0")
    for size in (700, len(end) // 512 * 512 + 512, 3 * 512, 0):
        (shards / "train-1.tar").write_bytes(content[:size])
        assert "train-1.tar cannot be used: it is truncated" in expect_data_error(shards)
    (shards / "train-1.tar").write_bytes(content[:2048] + b"#" * 512 + content[2560:])
    assert "damaged after" in expect_data_error(shards) or "truncated" in expect_data_error(shards)
    (shards / "train-1.tar").write_bytes(b"\x1f\x8b" + content[2:])
    assert "it is compressed with gzip: unpack it" in expect_data_error(shards)
    (shards / "train-1.tar").write_bytes(b"a text" + content[6:])
    assert "it is not a tar" in expect_data_error(shards)


def test_the_sizes_that_timm_wrote_are_checked(shards):
    info = {"splits": {"train": {"filenames": ["train-0.tar", "train-1.tar"], "shard_lengths": [10, 7]}}}
    (shards / "_info.json").write_text(json.dumps(info))
    assert len(open_shards(shards, "train")) == 29
    info["splits"]["train"]["shard_lengths"] = [10, 8]
    (shards / "_info.json").write_text(json.dumps(info))
    assert "train-1.tar has 7 images, but _info.json says 8" in expect_data_error(shards)
    (shards / "_info.json").write_text("[]")
    assert "format of timm" in expect_data_error(shards)


def test_an_option_names_the_member_of_several_and_what_is_not_read_is_counted(tmp_path, capfd):
    image = make_coloured_image(3)
    sample = [("a.left.png", image), ("a.right.png", b"?"), ("a.txt", b" 02\n")]
    write_tar(tmp_path / "train.tar", [("README.md", b"hello"), ("__meta__.json", b"{}"), *sample])
    recipe = resolve.resolve_recipe(
        "pretrain",
        ["data=shards", f"data.path={tmp_path}", "data.classes=5", "data.image=left.png", "data.label=txt"],
    )
    for _ in range(2):  # with the index and without
        split = data.open_split(recipe.data, "train", Screen())
        assert split.labels.tolist() == [2] and (split.pixels[0, 0] == 21).all()
        assert "files in the shards that are not read: 2, such as train.tar/README.md" in capfd.readouterr().out
