"""How ranks share a network: which of them have one copy together, and what they cannot share."""

from types import SimpleNamespace

import pytest

from vitrun import models
from vitrun.engine.initial_state import build_state
from vitrun.engine.sharing import choose_shard_ranks, share_network
from vitrun.errors import UserError
from vitrun.recipes import tables
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine


@pytest.mark.parametrize(
    "option, hosts, size", [(None, "aabb", 4), (2, "aaaa", 2), ("node", "aabb", 2), ("node", "aa", 2), (1, "ab", 1)]
)
def test_the_ranks_that_share_a_copy_are_all_or_those_of_a_node_or_a_number(option, hosts, size):
    assert choose_shard_ranks(option, [*hosts]) == size


@pytest.mark.parametrize(
    "option, hosts", [(3, "aaaa"), (8, "aaaa"), ("node", "aab"), ("node", "abab"), ("node", "abb")]
)
def test_ranks_that_cannot_be_divided_evenly_are_refused(option, hosts):
    with pytest.raises(UserError) as error:
        choose_shard_ranks(option, [*hosts])
    assert error.value.option == "shard_ranks" and len(str(error.value)) < 400


def test_ranks_with_a_part_each_need_equally_many_images(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(UserError, match="batch=31: is not a multiple of the 2 ranks"):
        share_network(SimpleNamespace(mode="fsdp", batch=31), None, None)


def test_ranks_on_cpus_do_not_train_a_network_with_batch_norm(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    row = tables.load_model_row("sasa_nano")
    loaded = models.LoadedModel(models.build(row, 4, 16), row, 4, 16, None)
    with pytest.raises(UserError, match="sasa_nano has batch norm, .*: use one rank"):
        build_state(SimpleNamespace(mode="ddp", checkpointing="none"), loaded, Machine("cpu", "fp32"))
