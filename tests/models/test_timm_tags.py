"""Weights by timm's tags: checked, downloaded, and those of Google loaded as vitrun's own networks."""

import shutil

import pytest
import torch

from helpers.networks import MODEL_ROWS, build_randomized, compute_logits, make_inputs
from vitrun import models
from vitrun.config import resolve
from vitrun.engine.weights import load_for_run, pin_for_all
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import tables
from vitrun.runs import execution, hub_commits, init_resolution
from vitrun.runs.groups import group_runs
from vitrun.runs.metrics import Metric
from vitrun.runs.results import load_finished_runs
from vitrun.runtime.console import Screen


def test_a_timm_name_without_a_tag_is_the_default_of_timm_and_older_names_are_known(tmp_path):
    import timm

    default = timm.get_pretrained_cfg("vit_base_patch16_224").tag
    for name, tag in (
        ("vit_base_patch16_224", f"vit_base_patch16_224.{default}"),
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
    ):
        assert init_resolution.resolve_init(f"timm:{name}", tmp_path, "finetune") == f"timm:{tag}"


def test_an_unknown_timm_name_or_tag_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(UserError, match=r"vit_base_patch16_224\.orig_in21k"):
        models.load("timm:vit_base_patch16_224.mine")
    with pytest.raises(UserError, match="timm has no weights for vit_base_patch61_224"):
        models.load("timm:vit_base_patch61_224.augreg_in21k")
    with pytest.raises(UserError, match="vit_base_patch16_224"):
        init_resolution.resolve_init("timm:vit_base_patch61_224", tmp_path, "finetune")


def test_published_weights_are_timm_tags():
    import timm

    weights = [source for name in tables.list_group_files("model") for source in tables.load_model_info(name).weights]
    assert len(weights) == len(set(weights)) > 50
    tags = {name for name in weights if not name.startswith(("torchvision:", "hf:"))}
    assert tags <= {f"timm:{tag}" for tag in timm.list_pretrained()}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a function that puts tensors into the Hub's cache, with the Hub offline."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def write_weights(repository, tensors, commit="0" * 40):
        from safetensors.torch import save_file

        place = tmp_path / f"models--{repository.replace('/', '--')}"
        (place / "refs").mkdir(parents=True, exist_ok=True)
        (place / "refs" / "main").write_text(commit)
        (place / "snapshots" / commit).mkdir(parents=True)
        save_file(tensors, place / "snapshots" / commit / "model.safetensors")

    return write_weights


def test_weights_of_google_by_timm_tag_load_as_our_own_network(hub):
    row = MODEL_ROWS["vit_ti16"]
    network = build_randomized(row, classes=21_843, res=224)
    hub("timm/vit_tiny_patch16_224.augreg_in21k", dict(network.state_dict()))
    loaded = models.load("timm:vit_tiny_patch16_224.augreg_in21k")
    assert (loaded.model, loaded.classes, loaded.res) == (row, 21_843, 224)
    assert torch.equal(
        compute_logits(loaded.network, make_inputs(224, 1)), compute_logits(network, make_inputs(224, 1))
    )
    pinned = f"timm:vit_tiny_patch16_224.augreg_in21k@{'0' * 40}"
    assert loaded.commit == "0" * 40 and pinned in "".join(loaded.report.notes)
    again = models.load(pinned)
    assert again.commit == "0" * 40 and not again.report.notes


def test_other_weights_by_timm_tag_load_as_timm_networks_with_their_normalization(hub):
    import timm

    theirs = timm.create_model("test_vit3.r160_in1k")
    hub("timm/test_vit3.r160_in1k", theirs.state_dict())
    loaded = models.load("timm:test_vit3.r160_in1k")
    assert models.load(f"timm:test_vit3.r160_in1k@{'0' * 40}").commit == loaded.commit == "0" * 40
    mean, std = (torch.tensor(theirs.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = make_inputs(loaded.res)
    torch.testing.assert_close(
        compute_logits(loaded.network, pixels), compute_logits(theirs, ((pixels + 1) / 2 - mean) / std)
    )
    assert (
        loaded.model.name == "test_vit3"
        and not models.load("timm:test_vit3.r160_in1k", classes=3).network.head.weight.any()
    )


def test_a_tag_is_one_commit_in_all_runs_of_a_folder_although_the_hub_moves_on(hub, tmp_path, monkeypatch):
    import timm

    tag, repository = "timm:test_vit3.r160_in1k", "timm/test_vit3.r160_in1k"
    first, second = "0" * 40, "1" * 40

    def evaluate(init: str = tag, runs: str = "runs", stop: bool = False, **options: object) -> str:
        overrides = [f"{key}={value}" for key, value in options.items()]
        recipe = resolve.resolve_recipe("eval", [f"init={init}", "data=shapes", f"runs={tmp_path / runs}", *overrides])

        def execute(recipe, run):
            loaded = load_for_run(recipe, run)
            if stop:
                raise KeyboardInterrupt
            return {"top1": Metric(0.5, "share"), "commit": loaded.commit}

        return execution.execute_run("eval", recipe, Screen(quiet=True), execute)["commit"]

    weights = timm.create_model("test_vit3.r160_in1k").state_dict()
    hub(repository, weights, first)
    with pytest.raises(KeyboardInterrupt):
        evaluate(stop=True)
    hub(repository, {name: tensor + 1 for name, tensor in weights.items()}, second)
    assert evaluate() == first, "resumed"
    assert evaluate(batch=3, res=96) == first, "another run, as a job of a sweep"
    assert evaluate(f"{tag}@main") == evaluate(runs="elsewhere") == second

    def pin_after_another(source, commit):
        hub_commits.pin_commit(tag, first, source.runs)
        return pin_for_all(source, commit)

    monkeypatch.setattr("vitrun.engine.weights.pin_for_all", pin_after_another)
    assert evaluate(runs="third") == first, "a run that started at the same moment was first"
    (same,) = (run.name for run in (tmp_path / "elsewhere").glob("eval-*"))
    for folder in ("runs", "elsewhere"):
        shutil.copytree(tmp_path / folder / same, tmp_path / "both" / f"from-{folder}")
    both, _ = load_finished_runs(tmp_path / "both")
    assert {run.options["init"] for run in both} == {f"{tag}@{first}", f"{tag}@{second}"}
    assert len(group_runs(both)) == 2, "never averaged"


def test_the_error_for_weights_that_cannot_be_downloaded_says_what_to_do(hub):
    for tag in ("vit_tiny_patch16_224.augreg_in21k", "test_vit3.r160_in1k"):
        with pytest.raises(UserError, match="could not be fetched.* init=FILE") as error:
            models.load(f"timm:{tag}")
        assert error.value.status == ExitCode.CHECKPOINT
