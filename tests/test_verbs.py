"""Each verb, end to end on a few images, as the command line runs it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from conftest import TINY
from PIL import Image
from safetensors.numpy import load_file

from vitrun import compare, data, export, origins, results, run, start
from vitrun.eval import compare_names
from vitrun.mistakes import Exit, Mistake
from vitrun.screen import Screen


def folder(recipe, verb: str) -> Path:
    return recipe.runs / run.name(verb, recipe)


def test_the_five_verbs_follow_each_other(carry_out, tmp_path, capsys):
    recipe, result = carry_out("pretrain", *TINY)
    assert result["test_images"] == 50 and result["steps"] == 6
    assert {f.name for f in folder(recipe, "pretrain").iterdir()} >= {
        "about.json", "checkpoints", "log.txt", "metrics.jsonl", "recipe.yaml", "result.json"
    }  # fmt: skip
    pretrained = run.name("pretrain", recipe)

    recipe, result = carry_out(
        "finetune", "steps=3", "epochs=null", "res=64", "batch=32", "warmup=1", "data.test_images=40"
    )
    assert recipe.init == pretrained, "latest is the pretraining run"
    log = (folder(recipe, "finetune") / "log.txt").read_text()
    assert "4x4 -> 8x8" in log and "head of 120 classes" in log and "zero head of 10 classes" in log

    _, result = carry_out("fewshot", "shots=1,5", "seeds=0,1", "data.test_images=40")
    assert result.keys() >= {"shot1", "shot1_std", "shot5", "shot5_std"}

    recipe, result = carry_out("eval")
    assert recipe.init.startswith("finetune-"), "the newest model with a head"
    assert result["images_used"] == result["images_expected"] == 40
    answers = pyarrow.parquet.read_table(folder(recipe, "eval") / "preds.parquet").to_pydict()
    assert len(set(answers["id"])) == 40, "every image exactly once"
    right = [label == top[0] for label, top in zip(answers["label"], answers["top5"])]
    assert np.mean(right) == pytest.approx(result["top1"])

    table = start.load("compare", [f"runs={tmp_path / 'runs'}", f"save={tmp_path / 'table'}"])
    compare.main(table, Screen())
    shown = capsys.readouterr().out
    assert "ours: vit_nano8, shapes" in shown and "digits shot5" in shown and "85.30 ± 0.02" in shown
    assert (tmp_path / "table.csv").exists() and json.loads((tmp_path / "table.json").read_text())


def test_a_finished_run_shows_its_result_and_is_not_repeated(carry_out):
    recipe, first = carry_out("pretrain", *TINY)
    before = (folder(recipe, "pretrain") / "metrics.jsonl").read_text()
    _, second = carry_out("pretrain", *TINY)
    assert first == second and (folder(recipe, "pretrain") / "metrics.jsonl").read_text() == before


def test_eval_sees_images_as_the_run_did_unless_it_is_told_otherwise(carry_out):
    seen = ("view.resize=small", "view.crop=0.5", "view.antialias=false")
    _, trained = carry_out("pretrain", *TINY, *seen)
    recipe, result = carry_out("eval")
    assert (recipe.view.resize, recipe.view.crop, recipe.view.antialias) == ("small", 0.5, False)
    assert (result["top1"], result["loss"]) == (trained["top1"], pytest.approx(trained["loss"], rel=1e-3))
    other, whole = carry_out("eval", "view.crop=1")
    assert (other.view.resize, other.view.crop) == ("small", 1.0) and whole["loss"] != result["loss"]
    untold = start.load("eval", ["init=random:vit_nano8", "data=digits"])
    assert (untold.view.resize, untold.view.crop, untold.view.antialias) == ("square", 1.0, True)


def test_a_rehearsal_writes_nothing(carry_out, tmp_path):
    _, result = carry_out("pretrain", *TINY, dry=True)
    assert result["hours"] > 0 and result["memory_gb"] > 0
    assert not (tmp_path / "runs").exists()


def test_a_rehearsal_reckons_with_the_published_sizes_and_downloads_nothing(carry_out, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nothing answers
    words = ("model=vit_nano8", "data=imagenet", "res=32", "batch=32", "epochs=1", "warmup=1")
    _, result = carry_out("pretrain", *words, dry=True)
    assert result["steps"] == round(1_281_167 / 32) and result["hours"] > 0


def test_eval_takes_the_data_of_the_run_with_what_the_words_change(carry_out):
    recipe, _ = carry_out("pretrain", *TINY, "data.size=48")
    changed, result = carry_out("eval", "data.test_images=30")
    assert result["images_used"] == 30 and changed.data == replace(recipe.data, test_images=30)
    with pytest.raises(Mistake, match=r"Did you mean data\.test_images\?"):
        carry_out("eval", "data.test_image=30")
    words = [f"runs={recipe.runs}", "data.test_images=30"]
    shown = origins.show("eval", words, start.load("eval", words))
    where = {line.split("=")[0]: line.partition("# ")[2] for line in shown.splitlines()}
    assert where["data.test_images"] == "command line" and where["data.size"] == "the run that init names"


def test_a_head_of_other_classes_is_refused(carry_out):
    carry_out("pretrain", *TINY)
    with pytest.raises(Mistake, match="120 classes, but digits has 10"):
        carry_out("eval", "data=digits")


def test_what_export_writes_for_timm_and_transformers_is_an_init(carry_out, tmp_path):
    _, trained = carry_out("pretrain", *TINY)
    for to in ("timm", "hf"):
        export.main(start.load("export", [f"to={to}", f"path={tmp_path / to}", f"runs={tmp_path / 'runs'}"]), Screen())
        recipe, result = carry_out("eval", f"init={tmp_path / to}", "data=shapes", "data.test_images=50")
        assert recipe.init.startswith(f"{tmp_path / to}#")
        assert result["loss"] == pytest.approx(trained["loss"], rel=1e-2), "bf16 rounds differently where eps does"


def test_features_are_read_from_their_file_the_second_time(carry_out, tmp_path):
    words = ("init=random:vit_nano8", "res=32", "shots=1", "seeds=0", "data.test_images=40")
    carry_out("fewshot", *words)
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "runs" / "features").iterdir()}
    recipe, _ = carry_out("fewshot", *words, "l2=1")
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "runs" / "features").iterdir()} == files and len(files) == 2
    assert "read from" in (folder(recipe, "fewshot") / "log.txt").read_text()


def test_features_of_other_images_with_the_same_names_and_labels_are_not_taken(carry_out, photographs, tmp_path):
    shutil.copytree(photographs, tmp_path / "grey")
    for file in (tmp_path / "grey").rglob("*.jpg"):
        Image.open(file).convert("L").save(file)
    for folder in (photographs, tmp_path / "grey"):
        carry_out("fewshot", "init=random:vit_nano8", "res=32", "data=folder", f"data.path={folder}", "shots=1")
    kept = [load_file(file)["features"] for file in (tmp_path / "runs" / "features").iterdir()]
    assert len(kept) == 4 and not any((a.shape == b.shape and (a == b).all()) for a, b in combinations(kept, 2))


def test_compare_averages_over_seeds_only(carry_out, tmp_path):
    common = ("init=random:vit_nano8", "res=32", "epochs=null", "steps=2", "warmup=0", "data.test_images=40")
    found = [carry_out("finetune", *common, f"seed={seed}")[1]["top1"] for seed in (0, 1)]
    carry_out("finetune", *common, "optim.lr=0.001")
    cells = results.tabulate(
        results.read(tmp_path / "runs", ("finetune",), pytest.fail), ("data",), ("model", "upstream"), ("top1",)
    )
    cells = {cell.column[-1]: cell for cell in cells}
    assert len(cells) == 2 and cells.keys() >= {"optim.lr=0.001"}
    both = next(cell for column, cell in cells.items() if column != "optim.lr=0.001")
    assert both.mean == pytest.approx(np.mean(found)) and both.std == pytest.approx(np.std(found, ddof=1))
    assert len(both.runs) == 2


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Class folders of images of different sizes."""
    generator = np.random.default_rng(0)
    for part, number in (("train", 6), ("test", 4)):
        for name in ("cat", "dog"):
            place = tmp_path / "photographs" / part / name
            place.mkdir(parents=True)
            for n in range(number):
                pixels = generator.integers(0, 255, (40 + n, 50 - n, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{n}.{'png' if n % 2 else 'jpg'}")
    return tmp_path / "photographs"


def test_your_own_folder_trains_by_one_word(carry_out, photographs):
    words = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    _, result = carry_out("pretrain", *words)
    assert result["test_images"] == 8


def test_images_in_one_folder_with_the_runs_are_read_again_and_again(monkeypatch, photographs, tmp_path):
    words = ("model=vit_nano8", "data=folder", "data.path=.", "batch=4", "warmup=1")
    for place in (photographs, photographs / "train"):  # split by folders, and by names
        monkeypatch.chdir(place)
        for verb, more in (("pretrain", ("steps=3", *words)), ("eval", ()), ("pretrain", ("steps=2", *words))):
            made = start.load(verb, [*more])
            assert run.carry_out(verb, made, Screen(quiet=True), import_module(f"vitrun.{verb}").main)["top5"] == 1


def test_classes_of_other_names_are_told_and_of_another_order_refused(carry_out, photographs, tmp_path, capsys):
    words = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    carry_out("pretrain", *words)
    other = shutil.copytree(photographs, tmp_path / "other")
    for part in other.iterdir():
        (part / "dog").rename(part / "wolf")
    carry_out("eval", "data=folder", f"data.path={other}")
    assert "class 1 is called dog where pretrain-" in capsys.readouterr().err
    for part in other.iterdir():
        (part / "cat").rename(part / "zebra")
        (part / "wolf").rename(part / "cat")
        (part / "zebra").rename(part / "dog")
    carry_out("eval", "data=folder", f"data.path={other}", "batch=5")
    assert "is called" not in capsys.readouterr().err, "the same names in the same order"
    with pytest.raises(Mistake, match="on these classes in another order: its class 0 is cat, here it is dog"):
        compare_names(("cat", "dog"), replace(opened_split(other), classes=("dog", "cat")), "it", print)


def opened_split(root: Path) -> data.Split:
    return data.open_split(
        start.load("eval", ["init=random:vit_nano8", "data=folder", f"data.path={root}"]).data, "test"
    )


def test_exports_keep_the_names_of_the_classes(carry_out, photographs, tmp_path):
    words = ("model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=4", "steps=3", "warmup=1")
    recipe, _ = carry_out("pretrain", *words)
    for to, key, names in (("hf", "id2label", {"0": "cat", "1": "dog"}), ("timm", "label_names", ["cat", "dog"])):
        place = tmp_path / to
        export.main(start.load("export", [f"runs={recipe.runs}", f"to={to}", f"path={place}"]), Screen(quiet=True))
        assert json.loads((place / "config.json").read_text())[key] == names


def test_a_name_that_is_no_text_is_shown_and_hashed(photographs):
    (photographs / "train" / "cat" / "0.jpg").rename(
        os.fsdecode(bytes(photographs / "train" / "cat") + b"/caf\xe9.jpg")
    )
    for part in (photographs, photographs / "train"):
        split = data.open_split(start.load("pretrain", ["data=folder", f"data.path={part}"]).data, "train")
        assert len(split.fingerprint) == 16 and sum(r"caf\xe9.jpg" in key for key in split.keys) <= 1


def test_a_damaged_image_is_named(carry_out, photographs):
    (photographs / "train" / "cat" / "0.jpg").write_bytes(b"<html>404</html>")
    with pytest.raises(Mistake, match=r"cat/0.jpg is no readable image \(16 bytes.*html") as error:
        carry_out(
            "pretrain", "model=vit_nano8", "data=folder", f"data.path={photographs}", "batch=12", "steps=2", "warmup=0"
        )
    assert error.value.status == Exit.DATA
    assert not any((photographs.parent / "runs").iterdir()), "a run that has done nothing leaves nothing"


def test_the_hub_layout_is_read_from_a_local_copy(tmp_path):
    import datasets

    sizes = ["data.train_images=20", "data.test_images=10"]
    generator = np.random.default_rng(0)
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=[f"c{n}" for n in range(10)])}
    )
    for split, number in (("train", 20), ("test", 10)):
        rows = [Image.fromarray(generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(number)]
        table = datasets.Dataset.from_dict({"img": rows, "label": [n % 10 for n in range(number)]}, features)
        (tmp_path / "copy").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / "copy" / f"{split}-00000-of-00001.parquet")
    recipe = start.load("pretrain", ["data=cifar10", f"data.path={tmp_path / 'copy'}", *sizes])
    train, test = (data.open_split(recipe.data, part) for part in ("train", "test"))
    assert (len(train), len(test)) == (20, 10) and train.classes[3] == "c3"
    assert train.pixels.shape == (20, 3, 32, 32) and train.labels.tolist() == [n % 10 for n in range(20)]
    assert len({*train.keys, *test.keys}) >= 20 and train.fingerprint != test.fingerprint


def test_reading_images_leaves_the_network_all_cores(tmp_path):
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for n in range(2):
                Image.new("RGB", (32, 32), (n, len(part), 0)).save(tmp_path / part / name / f"{n}.png")
    words = ["model=vit_nano8", "data=folder", f"data.path={tmp_path}", "batch=4", "steps=3", "warmup=1", "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "vitrun", "pretrain", *words],
        env=os.environ | {"OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
    )
    assert "on cpu, 2 cores" in done.stdout, done.stdout + done.stderr


UNFIT = [
    ("pretrain", ["model=timm", "model.name=resnet5O"], "No timm model 'resnet5O'"),
    ("pretrain", ["model=timm", "model.name=convnext_atto", "res=8"], "convnext_atto takes no images of res=8"),
    ("pretrain", ["model=timm", "model.name=vit_tiny_r_s16_p8_224", "res=40"], "at res=40: that size does not fit it"),
    ("finetune", ["init=timm:vit_base_patch61_224.x"], "timm has no weights for vit_base_patch61_224"),
    ("fewshot", ["init=random:vit_b16", "res=100"], "res=100 is no multiple of 16"),
    ("eval", ["init=timm:resnet50.x"], "timm:resnet50.x names no weights"),
    ("dedup", ["init=timm:resnet50.x"], "timm:resnet50.x names no weights"),
]


@pytest.mark.parametrize("verb, words, sentence", UNFIT, ids=[" ".join([verb, *words]) for verb, words, _ in UNFIT])
def test_a_network_that_cannot_be_is_told_before_the_data_is_opened(verb, words, sentence, carry_out, tmp_path):
    with pytest.raises(Mistake, match=sentence):
        carry_out(verb, *words, "data=folder", f"data.path={tmp_path}")  # which has no images
    assert not any((tmp_path / "runs").glob("*")), "nothing is left behind"
