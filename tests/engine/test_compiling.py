"""The network compiled for training computes what it computes otherwise, and a run of it continues to the same bits."""

import pytest
import torch

from helpers.overrides import TINY
from helpers.rank_training import train_compiled
from helpers.rank_worlds import run_ranks
from helpers.runs import hash_weights
from helpers.training import CPU, build_small_vit, make_state, random_batch, train_steps
from vitrun import models
from vitrun.engine import compiling, loop
from vitrun.engine.progress import Meter
from vitrun.errors import ExitCode, Interrupted, UserError
from vitrun.recipes import tables
from vitrun.runs import run
from vitrun.runtime.files import read_json


@pytest.fixture(autouse=True)
def quick_compiler(monkeypatch):
    """Trace the forward pass without generating code, which takes a minute."""
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    yield
    torch._dynamo.reset()


def test_compiled_steps_are_those_of_the_network_for_any_size_of_micro_batch():
    def train(compiled: bool):
        state = make_state(build_small_vit(), micro=3)
        if compiled:
            state.compiled = torch.compile(state.network, dynamic=False, backend=compiling.BACKEND)
        losses = [step.loss for step in train_steps(state, [random_batch(8, seed=n) for n in range(3)])]
        return losses, state.network.state_dict()

    (losses, weights), (losses2, weights2) = train(False), train(True)
    assert losses2 == pytest.approx(losses, rel=1e-5)
    torch.testing.assert_close(weights2, weights, rtol=1e-4, atol=1e-6)


def test_ranks_train_with_compiled_blocks_as_without_each_block_with_its_own_stochastic_depth():
    first, second = run_ranks(2, train_compiled)
    assert first == second
    for losses, compiled_losses, graphs in first:
        assert compiled_losses == losses
        assert graphs == 4, "two blocks, and two sizes of micro-batch"


def test_a_network_without_blocks_is_compiled_whole():
    network, forwards = torch.nn.Linear(2, 3), []

    def share(*inputs: torch.Tensor) -> torch.Tensor:
        forwards.append(network.forward)
        return network(*inputs)

    compiled = compiling.CompiledBlocks(share, network)
    assert torch.equal(compiled(torch.ones(1, 2)), network(torch.ones(1, 2)))
    assert forwards == [compiled.forwards[0][1]] and "forward" not in vars(network)


def test_a_compiled_run_records_that_and_ends_with_the_same_bits_interrupted_or_not(run_command, tmp_path, monkeypatch):
    record, options = Meter.record_step, [*TINY, "model.depth=1", "model.dropout=0.1", "compile=true"]

    def stop_after_three(meter, step):
        record(meter, step)
        if step.number == 3:
            meter.run.request_exit(ExitCode.TERMINATED)

    recipe, _ = run_command("pretrain", *options)
    (folder,) = (tmp_path / "runs").iterdir()
    assert read_json(folder / "about.json")["computing"]["compile"] is True
    assert folder.name == run.run_name("pretrain", recipe)
    (tmp_path / "runs").rename(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Meter, "record_step", stop_after_three)
        run_command("pretrain", *options)
    run_command("pretrain", *options)
    assert hash_weights(tmp_path / "runs") == hash_weights(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(compiling, "explain_missing_compiler", lambda machine: "There is no compiler.")
        with pytest.raises(UserError, match="There is no compiler. Leave it out") as error:
            run_command("pretrain", *options, "seed=1")
    assert error.value.option == "compile" and error.value.status == ExitCode.DEVICE


@pytest.mark.parametrize("device, steps, is_compiled", [("cuda", 2000, True), ("cuda", 2, False), ("cpu", 2000, False)])
def test_auto_compiles_long_runs_on_a_gpu(device, steps, is_compiled):
    loaded = models.LoadedModel(None, tables.load_model_row("vit_l16"), 1000, 224, None)
    machine = type("Machine", (), {"device": torch.device(device)})
    assert compiling.is_long(loaded, machine, steps * 1024) == is_compiled


def test_a_network_that_cannot_be_compiled_is_one_error(monkeypatch):
    def fail(*inputs):
        raise torch._dynamo.exc.Unsupported("no such operation\nand more")

    state = make_state(build_small_vit())
    state.compiled = compiling.report_errors(fail)
    with pytest.raises(UserError, match=r"no such operation\). Use compile=false") as error:
        train_steps(state, [random_batch(8)])
    assert error.value.option == "compile" and loop.count_workers(state, CPU) == 1
