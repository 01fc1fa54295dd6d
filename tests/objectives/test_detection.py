"""The loss of detections is DETR's, of any micro-batch and number of ranks; any body becomes a detector."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from helpers.rank_worlds import run_ranks
from helpers.training import CPU
from vitrun import data, models
from vitrun.data import Batch, Boxes, open_split
from vitrun.data.sampler import rank_range
from vitrun.data.transforms.views import CenterCropView
from vitrun.engine.loop import FitOptions, accumulate
from vitrun.engine.state import TrainState
from vitrun.errors import UserError
from vitrun.models import Detections
from vitrun.objectives.detection import DetectionObjective
from vitrun.recipes.detection import DetectionLoss
from vitrun.recipes.detector_rows import make_detector_row
from vitrun.recipes.tables import load_data_row, load_model_row
from vitrun.runtime import distributed

PUBLISHED = DetectionLoss(no_object=0.1, l1=5.0, giou=2.0, auxiliary=True)
OBJECTIVE = DetectionObjective(PUBLISHED, 4)
COUNTS = (3, 0, 1, 2)  # boxes of the images of a step


def draw_batch() -> Batch:
    """Return this rank's images of a step with their boxes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, 3, 16, 16, generator=generator)
    boxes = [
        Boxes(torch.rand(count, 4, generator=generator) * 0.4 + 0.2, torch.randint(3, (count,), generator=generator))
        for count in COUNTS
    ]
    own = slice(*rank_range(4, distributed.rank(), distributed.world_size()))
    rows = np.arange(4)[own]
    return Batch(images[own], torch.zeros(len(rows)), rows, boxes=tuple(boxes[own]), step_boxes=sum(COUNTS))


def compute_gradient(decoder: int, micro: int) -> tuple[float, list[np.ndarray]]:
    """Return the loss of a step and the gradients, summed over the ranks."""
    torch.manual_seed(1)
    row = load_model_row("yolos_nano")
    body = replace(row.body, depth=1, width=16, heads=2, mlp=16)
    row = replace(row, body=body, decoder=decoder, width=16, heads=2, mlp=16, dropout=0.0)
    network = models.build(row, 3, 16)
    parameters = list(network.parameters())
    options = FitOptions(OBJECTIVE.loss, 4, lambda _: 0.0, None, None, 0, CPU, lambda _: None)
    state = TrainState(network, torch.optim.SGD(parameters), None, 0, micro)
    computed = accumulate(state, parameters, OBJECTIVE.prepare(draw_batch(), 0), options)
    distributed.all_reduce([p.grad for p in parameters])
    return sum(distributed.all_gather_object(float(computed.loss))), [p.grad.numpy() for p in parameters]


@pytest.mark.parametrize("decoder", [0, 2])
def test_the_gradient_depends_neither_on_the_micro_batch_nor_on_the_ranks(decoder):
    loss, expected = compute_gradient(decoder, 4)
    others = [compute_gradient(decoder, micro) for micro in (2, 1)]
    others += run_ranks(2, compute_gradient, decoder, 1) if decoder else []
    for other, gradients in others:
        assert other == pytest.approx(loss, rel=1e-6)
        for gradient, like in zip(gradients, expected):
            assert np.linalg.norm(gradient - like) <= 1e-5 * np.linalg.norm(like) + 1e-5


def measure_single_image() -> dict[str, float]:
    """Return the loss and AP of the first of two ranks' only test image."""
    torch.manual_seed(0)
    split = open_split(load_data_row("boxes", train_images=1, test_images=1, size=16), "test")
    network = models.build(load_model_row("yolos_nano"), len(split.classes), 16)
    result = OBJECTIVE.evaluate(network, data.test_batches(split, CenterCropView(16), 4), CPU, lambda _: None)
    return {name: result[name].mean for name in ("AP", "loss")}


def test_a_rank_without_test_images_measures_those_of_the_others():
    first, second = run_ranks(2, measure_single_image)
    assert first == second == pytest.approx(measure_single_image(), rel=1e-5)


@pytest.mark.shared
@pytest.mark.parametrize("auxiliary", [True, False])
def test_the_mean_over_images_is_the_loss_of_detr(shared, auxiliary):
    golden = np.load(shared / "golden" / "family" / "detr_hf" / "golden.npz")
    layers = [
        torch.from_numpy(np.stack([golden[f"aux_{one}"], golden[other]], 1))
        for one, other in (("logits", "logits"), ("boxes", "pred_boxes"))
    ]
    boxes, classes = (torch.from_numpy(golden[f"target_{name}"]) for name in ("boxes", "labels"))
    totals = torch.tensor([len(boxes), int((classes >= 0).sum())]).expand(len(boxes), 2)
    objective = replace(OBJECTIVE, options=replace(PUBLISHED, auxiliary=auxiliary))
    loss = objective.loss(Detections(*layers), classes, boxes.double(), totals).mean()
    weights = {"ce": 1.0, "bbox": PUBLISHED.l1, "giou": PUBLISHED.giou}
    suffixes = ["", "_0"] if auxiliary else [""]
    expected = sum(weight * float(golden[f"loss_{key}{end}"]) for key, weight in weights.items() for end in suffixes)
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def load_random(model: str, res: int, **changes) -> models.LoadedModel:
    """Return an untrained network."""
    row = replace(load_model_row(model), **changes)
    return models.LoadedModel(models.build(row, 5, res), row, 5, res, None)


@pytest.mark.parametrize(
    ("changes", "like"),
    [({}, None), ({"head": "gap"}, "detr_r50"), ({"positions": "sincos2d"}, None), ({"positions": "none"}, "detr_r50")],
)
def test_a_vit_becomes_a_detector_with_its_weights_and_resized_positions(changes, like):
    loaded = load_random("vit_nano8", 32, **changes)
    detector = models.make_detector(loaded, like, 3, 48)
    vit, body = loaded.network, detector.network.body
    assert detector.network.row == detector.model and detector.model.grid == (6, 6) and body.prefix == vit.prefix
    assert detector.network(torch.zeros(1, 3, 48, 48)).logits.shape == (1, 6 if like else 1, 100, 4)
    for name, tensor in body.state_dict().items():
        if name not in ("pos_embed", "det_token"):
            assert torch.equal(tensor, vit.state_dict()[name]), name
    same = models.make_detector(loaded, like, 3, 32).network.body
    placed = same.pos_embed[:, : vit.prefix + 16]
    assert torch.equal(placed, torch.zeros_like(placed) if vit.positions() is None else vit.positions())
    assert len(detector.report.resized) == 1 and not any(name.startswith("body.b") for name in detector.report.new)


def test_a_resnet_becomes_a_detector_with_the_same_map_of_features():
    loaded = load_random("timm", 64, name="resnet10t")
    loaded.network.set_normalization([0.4, 0.5, 0.6], [0.2, 0.3, 0.4])
    detector = models.make_detector(loaded, "detr_r50", 3, None).network.eval()
    images, network = torch.rand(1, 3, 64, 64), loaded.network.eval()
    expected = network.body.forward_features(images * network.scale + network.shift)
    torch.testing.assert_close(detector.features_map(images), expected)
    assert models.make_detector(loaded, "detr_r50_dc5", 3, None).network.features_map(images).shape[-1] == 4


@pytest.mark.parametrize(
    ("name", "like", "option"),
    [("bit_r50x1", None, "init"), ("timm", "yolos_ti", "detect.model"), ("vit_nano8", "yolos", "detect.model")],
)
def test_a_body_that_has_no_such_detector_is_refused(name, like, option):
    model = load_model_row(name)
    with pytest.raises(UserError) as raised:
        make_detector_row(replace(model, name="resnet10t") if name == "timm" else model, like, 32)
    assert raised.value.option == option


def test_a_detector_gets_a_zero_head_for_other_classes():
    loaded = load_random("yolos_nano", 32)
    before = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    detector = models.make_detector(loaded, None, 7, 48)
    assert detector.network.head.weight.shape == (8, 64) and not detector.network.head.weight.any()
    assert all(torch.equal(before[n], t) for n, t in detector.network.state_dict().items() if "head." not in n[:5])
    assert detector.network(torch.zeros(1, 3, 48, 48)).logits.shape == (1, 1, 10, 8)
