"""Masked patches: the right targets, the right shares, and a run that any other verb can go on from."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file

from vitrun import choices, data, export, models, run, start
from vitrun.machine import Machine
from vitrun.masking import Masking, cut
from vitrun.mistakes import Exit, Mistake
from vitrun.models import KEPT, MASKED
from vitrun.models.export.hugging_face_folder import write_hugging_face
from vitrun.recipe import Masked, SimMim
from vitrun.screen import Screen
from vitrun.views import WholeView

COLOUR = Masked(kind="masked", target="colour", share=0.5, mask=0.8, other=0.1)
SIMMIM = SimMim(kind="simmim", share=0.5)


def masking(target: str = "colour", patch: int = 8) -> Masking:
    return Masking(SIMMIM if target == "simmim" else replace(COLOUR, target=target), patch, seed=0)


def of_colours(*patches: tuple[int, int, int], side: int = 8) -> torch.Tensor:
    """An image [1, 3, 2 side, 2 side] in [-1, 1] of four patches, each of one 8-bit colour."""
    colours = torch.tensor(patches, dtype=torch.float32).view(2, 2, 3).permute(2, 0, 1)[None]
    return colours.repeat_interleave(side, 2).repeat_interleave(side, 3) / 127.5 - 1


def test_patches_are_cut_row_by_row():
    image = of_colours((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
    assert cut(image, 8).mean((3, 4)).tolist() == [[[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]]


def test_the_classes_of_known_colours_are_three_bits_of_red_green_and_blue():
    image = of_colours((0, 0, 0), (255, 255, 255), (255, 31, 64), (32, 128, 223))
    patches = cut(image, 8)[0]
    expected = [0, 511, 64 * 7 + 8 * 0 + 2, 64 * 1 + 8 * 4 + 6]
    assert masking().classes(patches).flatten().tolist() == expected
    assert masking("colours").classes(patches).tolist() == [[value] * 16 for value in expected]


def test_targets_come_in_the_range_that_a_view_gives():
    """A target that no image reaches, or all do, would train without a complaint (lucidrains/vit-pytorch, issue 97)."""
    split = data.open_split(start.load("pretrain", ["data.test_images=40"]).data, "test")
    (batch,) = data.testing(split, WholeView(32), 40)
    counts = Counter(masking().classes(cut(batch.images, 8).flatten(0, 1)).flatten().tolist())
    assert len(counts) > 30 and max(counts.values()) < 0.5 * counts.total()


def test_the_four_by_four_colours_of_a_patch_are_read_row_by_row():
    patch = torch.zeros(1, 3, 8, 8)
    patch[0, 0, :2, 2:4] = 1.0  # red in the second spot of the first row
    classes = masking("colours").classes(patch)[0].tolist()
    assert classes[1] == 64 * 7 + 8 * 4 + 4 and set(classes[:1] + classes[2:]) == {64 * 4 + 8 * 4 + 4}


def blank(size: int, res: int = 112) -> data.Batch:
    images = torch.zeros(size, 3, res, res)
    return data.Batch(images, torch.zeros(size, dtype=torch.long), np.arange(size))


def test_half_is_corrupted_and_of_that_80_10_10_is_masked_strange_and_kept():
    corruption = masking().prepare(blank(200), 3).inputs[0]  # [200, 196]
    assert ((corruption != KEPT).sum(1) == 98).all(), "the same number in every image"
    told = corruption[corruption != KEPT]
    own = torch.arange(196).expand(200, -1)[corruption != KEPT]
    shares = [float(part.float().mean()) for part in (told == MASKED, (told >= 0) & (told != own), told == own)]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.01)
    strangers = told[(told >= 0) & (told != own)]
    assert strangers.float().mean() == pytest.approx(97.5, abs=5) and strangers.min() < 5 and strangers.max() > 190


def test_simmim_masks_all_that_is_corrupted():
    corruption = masking("simmim").prepare(blank(10), 0).inputs[0]
    assert set(corruption.unique().tolist()) == {KEPT, MASKED} and ((corruption == MASKED).sum(1) == 98).all()


def test_a_corruption_belongs_to_its_step_and_the_tests_to_its_image():
    aim = masking()
    first, again, other = (aim.prepare(blank(4), step).inputs[0] for step in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    whole = aim.corrupt(blank(4), "corrupt the test", 0, np.arange(4)).inputs[0]
    assert torch.equal(aim.corrupt(blank(2), "corrupt the test", 0, np.array([2, 3])).inputs[0], whole[2:])


def network(outputs: int = 512):
    torch.manual_seed(0)
    made = models.build_masked(choices.model_rows()["vit_nano8"], outputs, 16)
    torch.nn.init.normal_(made.decoder.weight, std=0.1)
    return made.eval()


def test_the_network_sees_what_the_corruption_says():
    made, image = network(), torch.rand(1, 3, 16, 16) * 2 - 1
    patches = made.patch_embed(image)
    seen = made.corrupted(patches, torch.tensor([[KEPT, MASKED, 0, 3]]))
    torch.testing.assert_close(seen[0, 0], patches[0, 0])
    torch.testing.assert_close(seen[0, 1], made.mask_token[0, 0])
    torch.testing.assert_close(seen[0, 2], patches[0, 0])
    torch.testing.assert_close(seen[0, 3], patches[0, 3])


def test_a_masked_patch_is_told_from_the_others_alone():
    made, image = network(), torch.rand(1, 3, 16, 16) * 2 - 1
    other = image.clone()
    other[:, :, :8, :8] = 0.3
    masked, kept = torch.tensor([[MASKED, KEPT, KEPT, KEPT]]), torch.full((1, 4), KEPT)
    torch.testing.assert_close(made(image, masked), made(other, masked))
    assert (made(image, kept) - made(other, kept)).abs().max() > 1e-3


@pytest.mark.parametrize("target", ["colour", "colours", "pixels", "simmim"])
def test_the_loss_is_that_of_the_corrupted_patches(target):
    aim = masking(target)
    batch = aim.prepare(data.Batch(torch.rand(3, 3, 32, 32) * 2 - 1, torch.zeros(3), np.arange(3)), 0)
    outputs = torch.randn(3, 16, aim.outputs)
    losses = aim.loss(outputs, batch.labels, *batch.targets)
    for row in range(3):
        each = []
        for place in (batch.inputs[0][row] != KEPT).nonzero().flatten().tolist():
            top, left = divmod(place, 4)
            patch = batch.images[row, :, top * 8 : top * 8 + 8, left * 8 : left * 8 + 8]
            said = outputs[row, place]
            if target == "simmim":
                each.append((said.view(3, 8, 8) - patch).abs().mean())
            elif target == "pixels":
                each.append((said.view(3, 8, 8) - (patch + 1) / 2).square().mean())
            else:
                classes = aim.classes(patch[None])[0]
                each.append(torch.nn.functional.cross_entropy(said.view(len(classes), 512), classes))
        assert float(losses[row]) == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)
    changed = outputs.clone()
    changed[batch.inputs[0] == KEPT] += 5
    torch.testing.assert_close(aim.loss(changed, batch.labels, *batch.targets), losses)


def test_simmim_is_the_loss_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    aim, made = masking("simmim"), network(masking("simmim").outputs)
    write_hugging_face(tmp_path, made, made.row, [], 16)
    facts = json.loads((tmp_path / "config.json").read_text()) | {"encoder_stride": 8}
    theirs = transformers.ViTForMaskedImageModeling(transformers.ViTConfig(**facts)).eval()
    state = load_file(tmp_path / "model.safetensors") | {"vit.embeddings.mask_token": made.mask_token}
    state |= {"decoder.0.weight": made.decoder.weight[:, :, None, None], "decoder.0.bias": made.decoder.bias}
    prefixed = transformers.ViTForImageClassification.from_pretrained(tmp_path).state_dict()
    theirs.load_state_dict(prefixed | {name: state[name] for name in theirs.state_dict() if name not in prefixed})
    batch = aim.prepare(data.Batch(torch.rand(4, 3, 16, 16) * 2 - 1, torch.zeros(4), np.arange(4)), 0)
    with torch.no_grad():
        ours = aim.loss(made(batch.images, *batch.inputs), batch.labels, *batch.targets).mean()
        expected = theirs(batch.images, bool_masked_pos=batch.inputs[0] != KEPT).loss
    torch.testing.assert_close(ours, expected)


def test_accuracy_counts_right_colours():
    aim, image = masking(), of_colours((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255))
    batch = data.Batch(image, torch.zeros(1), np.arange(1))
    told = masking().classes(cut(image, 8)[0]).flatten()

    class Knows(torch.nn.Module):
        def forward(self, images, corruption):
            return torch.nn.functional.one_hot(told, 512)[None].float() * 9

    result = aim.test(Knows(), [batch], Machine("cpu", "fp32"), lambda _: None)
    assert result["colour_accuracy"] == 1 and result["masked_loss"] < 0.1 and result["test_images"] == 1


MASKED_RUNS = [
    ("objective=masked",),
    ("objective=masked", "objective.target=pixels", "model.head=map"),
    ("objective=simmim", "model.head=gap", "model.pre_logits=true"),
]


@pytest.mark.parametrize("words", MASKED_RUNS)
def test_what_masked_patches_trained_is_fine_tuned_like_any_run(carry_out, tmp_path, words):
    recipe, result = carry_out("pretrain", *TINY, *words)
    assert result["masked_loss"] > 0 and "top1" not in result
    assert ("colour_accuracy" in result) == (recipe.objective == COLOUR)
    name = run.name("pretrain", recipe)
    tuned, result = carry_out("finetune", "steps=3", "epochs=null", "batch=32", "warmup=1", "data.test_images=40")
    assert tuned.init == name and 0 <= result["top1"] <= 1
    log = (tmp_path / "runs" / run.name("finetune", tuned) / "log.txt").read_text()
    assert "mask token (1)" in log and "decoder of patches (2)" in log and "head of no classes" in log
    with pytest.raises(Mistake, match="trained without labels and has no head: fine-tune it first"):
        carry_out("eval", f"init={name}")
    if words == ("objective=masked",):
        carry_out("fewshot", f"init={name}", "shots=1", "seeds=0", "data.test_images=40")
        path, runs = tmp_path / "exported.npz", f"runs={tmp_path / 'runs'}"
        export.main(start.load("export", [f"init={name}", "to=npz", f"path={path}", runs]), Screen())
        carry_out("finetune", f"init={path}", "steps=1", "epochs=null", "warmup=0", "batch=8", "data.test_images=40")


def test_a_rehearsal_of_masked_patches_reckons(carry_out):
    _, result = carry_out("pretrain", *TINY, "objective=masked", dry=True)
    assert result["hours"] > 0


@pytest.mark.parametrize(
    "words, told",
    [
        (["model=bit_r50x1"], "masks patches of the image, which bit_r50x1 has none of"),
        (["model=r26_vit_s32"], "choose a pure vision transformer"),
        (["model=vit_nano8", "augment=light2"], "augment.mixup=0.2 is for labels"),
        (["model=vit_nano8", "smoothing=0.1"], "smoothing=0.1 is for labels"),
        (["model=vit_nano8", "head_bias=-10"], "head_bias=-10.0 is for labels"),
        (["model=vit_nano8", "objective.mask=0.95"], "together they are at most 1"),
    ],
)
def test_what_masked_patches_cannot_be_asked_is_told(words, told):
    with pytest.raises(Mistake, match=told) as error:
        start.load("pretrain", ["objective=masked", "res=32", *words])
    assert error.value.status == Exit.COMMAND
