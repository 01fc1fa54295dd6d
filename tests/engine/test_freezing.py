"""Only the named part of a network is trained; the rest keeps its bits."""

import pytest
import torch

from helpers.training import build_small_vit, make_state, random_batch, train_steps
from vitrun import models
from vitrun.engine.freezing import freeze
from vitrun.engine.state import TrainState
from vitrun.errors import UserError
from vitrun.recipes import Timm


def train_part(network, train: str) -> tuple[TrainState, set[str]]:
    """Train a part of a network for two steps; return the state and the names of the tensors that changed."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    freeze(network, train)
    state = make_state(network)
    train_steps(state, [random_batch(8, classes=5, seed=seed) for seed in range(2)], decay=0.9)
    after = network.state_dict()
    return state, {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


@pytest.mark.parametrize(
    "train, parts",
    [("head", {"head"}), ("last:1", {"blocks.1", "norm", "head"}), ("last:2", {"blocks", "norm", "head"})],
)
def test_frozen_tensors_keep_their_bits_and_have_neither_gradient_nor_optimizer_state(train, parts):
    network = build_small_vit(classes=5)
    state, changed = train_part(network, train)
    within = tuple(f"{part}." for part in parts)
    assert changed == {name for name in network.state_dict() if name.startswith(within)}
    stored = {id(p) for p in state.optimizer.state}
    assert {name for name, p in network.named_parameters() if id(p) in stored} == changed


@pytest.mark.parametrize("train, changes", [("head", False), ("last:1", True), ("all", True)])
def test_batch_norm_keeps_its_statistics_where_it_is_frozen(train, changes):
    torch.manual_seed(0)
    network = models.build(Timm(kind="timm", name="test_resnet"), 5, 32)
    _, changed = train_part(network, train)
    statistics = {name for name in network.state_dict() if "running" in name or "num_batches" in name}
    assert "body.bn1.running_mean" in statistics and bool(changed & statistics) == changes
    assert ("body.bn1.running_mean" in changed) == (train == "all")


def test_the_gradient_stops_where_nothing_below_is_trained():
    network = build_small_vit(classes=5)
    freeze(network, "last:1")
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: stored.append(tensor) or tensor, lambda tensor: tensor
    ):
        network.blocks[0](network.embed(random_batch(2).images))
    assert not stored, "nothing is stored for the backward pass of a frozen block"


def test_more_blocks_than_there_are_are_refused():
    with pytest.raises(UserError, match="last:2 trains everything except the embedding") as error:
        freeze(build_small_vit(), "last:3")
    assert error.value.option == "train"


@pytest.mark.parametrize(
    "parts, frozen",
    [
        (("patch_embed", "blocks.0"), ("patch_embed.", "blocks.0.")),
        (("*.norm1", "cls_token"), ("blocks.0.norm1.", "blocks.1.norm1.", "cls_token")),
        (("blocks.[01].mlp.fc?.bias",), ("blocks.0.mlp.fc1.bias", "blocks.0.mlp.fc2.bias", "blocks.1.mlp.fc")),
    ],
)
def test_parts_are_frozen_by_the_names_of_modules_and_by_patterns(parts, frozen):
    network = build_small_vit(classes=5)
    freeze(network, "all", parts)
    assert all(p.requires_grad != name.startswith(frozen) or "weight" in name for name, p in network.named_parameters())
    assert sum(not p.requires_grad for p in network.parameters()) >= len(frozen)


def test_parts_of_a_network_of_timm_have_its_own_names():
    network = models.build(Timm(kind="timm", name="test_resnet"), 5, 32)
    freeze(network, "all", ("conv1", "bn1"))
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad != name.startswith(("body.conv1.", "body.bn1.")), name


@pytest.mark.parametrize(
    "train, parts, message",
    [("all", ("blcks.0",), "blocks.0"), ("head", ("head",), "nothing"), ("all", ("",), "not part")],
)
def test_parts_that_are_not_there_and_a_network_all_frozen_are_refused(train, parts, message):
    with pytest.raises(UserError, match=message) as error:
        freeze(build_small_vit(), train, parts)
    assert error.value.option == "freeze"
