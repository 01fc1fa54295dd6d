"""Save the state of training as a checkpoint, and restore it."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vitrun import models
from vitrun.engine import sharded_state
from vitrun.engine.evaluation_record import EvaluationRecord
from vitrun.engine.state import TrainState, count_bytes, use_ema, use_weights
from vitrun.errors import ExitCode, UserError, is_out_of_memory
from vitrun.runs.checkpoint_writer import Save
from vitrun.runs.checkpoints import (
    BEST_FILE,
    COUNTERS_FILE,
    EMA_FILE,
    MODEL_FILE,
    MOMENTS_FILE,
    RUN_KEY,
    name_checkpoint,
)
from vitrun.runs.run import Run
from vitrun.runtime import heartbeat
from vitrun.runtime.files import parse_json, read_small_text
from vitrun.runtime.memory import available_memory
from vitrun.runtime.sharded_files import StagedParts, has_parts, stage_parts
from vitrun.runtime.stop import defer_stop

SPARE_MEMORY = 2**28  # bytes that training may still take while a copy of a checkpoint is in memory


@dataclass(frozen=True)
class CheckpointContent:
    """Content of a checkpoint: the tensors and metadata of each file, and the counters."""

    files: dict[str, tuple[dict[str, Tensor], dict[str, str] | None]]
    counters: dict[str, Any]

    @property
    def size(self) -> int:
        """Return the bytes of all tensors."""
        return sum(count_bytes(tensors.values()) for tensors, _ in self.files.values())

    def copy(self) -> "CheckpointContent":
        """Return a copy in main memory, which training does not change."""
        copies = {
            file: ({name: tensor.to("cpu", copy=True) for name, tensor in tensors.items()}, metadata)
            for file, (tensors, metadata) in self.files.items()
        }
        return CheckpointContent(copies, self.counters)

    def write(self, folder: Path) -> dict[str, str]:
        """Write the files into a folder; return the BLAKE3 hash of those that have tensors."""
        (folder / COUNTERS_FILE).write_text(json.dumps(self.counters), encoding="utf-8")
        files = self.files.items()
        return {file: models.write_safetensors(folder / file, *content) for file, content in files}


@defer_stop()
def save_checkpoint(
    state: TrainState, loaded: models.LoadedModel, run: Run, final: bool = False, background: bool = False
) -> bool:
    """Save a checkpoint of ``loaded.network``; return whether that worked.

    The ``final`` checkpoint has no optimizer state and replaces all others. With ``background`` a copy is saved while
    training continues; if there is no memory for a copy, training waits.
    """
    run.settle_save()  # frees the copy of the previous checkpoint
    content = list_content(state, loaded, final)
    parts, tensors = None, {}
    if state.is_divided and not final:
        tensors = sharded_state.list_tensors(state.network, state.ema, state.optimizer)
        with heartbeat.long_work("saving"):
            parts, background = stage_parts(run.checkpoints / name_checkpoint(state.step), tensors), False
    # run.computing has the micro-batch at the start, which may have been halved since
    facts = {RUN_KEY: run.name, "torch": torch.__version__, **run.computing, "micro_batch": state.micro_batch}
    if background and run.writes:
        copied = copy_if_it_fits(content, run)
        background, content = copied is not None, copied or content
    size = content.size if parts is None else count_bytes(tensors.values())
    write = content.write if parts is None else partial(write_with_parts, content, parts)
    try:
        return run.save_checkpoint(Save(state.step, write, size, facts, final), background)
    finally:
        if parts is not None and run.writes:
            parts.remove()


def write_with_parts(content: CheckpointContent, parts: StagedParts, folder: Path) -> dict[str, str]:
    """Put a content, and the files that the ranks have written, into a folder; return the BLAKE3 hash of each file."""
    return content.write(folder) | parts.take(folder)


def list_content(state: TrainState, loaded: models.LoadedModel, final: bool) -> CheckpointContent:
    """Return what a checkpoint of a state stores; the ``final`` one has no optimizer state."""
    description = models.describe_weights(loaded.model, loaded.classes, loaded.res, loaded.names)
    files: dict[str, tuple[dict[str, Tensor], dict[str, str] | None]]
    files = {}
    if final or not state.is_divided:  # else the ranks write files of their own
        with use_weights(state) as network:
            files[MODEL_FILE] = network.state_dict(), description
        if state.ema is not None:
            with use_ema(state) as network:
                files[EMA_FILE] = network.state_dict(), description
        if not final and (moments := sharded_state.list_moments(state.optimizer)):
            files[MOMENTS_FILE] = moments, None
    if state.best is not None:
        files[BEST_FILE] = state.best, description
    counters = {"step": state.step, "micro_batch": state.micro_batch, **state.evaluations.to_counters()}
    return CheckpointContent(files, counters | {"skipped": [*state.skipped], "losses": [*state.losses]})


def copy_if_it_fits(content: CheckpointContent, run: Run) -> CheckpointContent | None:
    """Return a copy of a checkpoint's content; if there is no memory for it, log that once per run and return None."""
    available = available_memory()
    if available is None or content.size + SPARE_MEMORY <= available.size:
        try:
            return content.copy()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
    size = f"{content.size / 1e6:,.1f} MB"
    run.log_once(f"Training waits while a checkpoint is written: there is no memory for a copy of its {size}")
    return None


def checkpoint_size(state: TrainState, moments: int, keeps_best: bool = False) -> int:
    """Return the bytes of a checkpoint: weights, EMA, best weights, and ``moments`` of the optimizer."""
    return count_bytes(state.network.parameters()) * (1 + (state.ema is not None) + keeps_best) + moments


def restore_checkpoint(state: TrainState, checkpoint: Path) -> None:
    """Load the folder ``checkpoint`` into ``state``; raise UserError if it belongs to another kind of state."""
    try:
        if state.is_divided or has_parts(checkpoint):
            sharded_state.restore_weights(state.network, state.ema, checkpoint)
        else:
            restore_weights(state, checkpoint)
        counters = parse_json(read_small_text(checkpoint / COUNTERS_FILE))
        state.step, state.micro_batch = int(counters["step"]), int(counters["micro_batch"])
        state.skipped = [int(step) for step in counters["skipped"]]
        state.losses.extend(float(loss) for loss in counters["losses"])
        state.evaluations = EvaluationRecord.from_counters(counters)
        if (checkpoint / BEST_FILE).exists():
            state.best = load_file(checkpoint / BEST_FILE)
        sharded_state.restore_moments(state.optimizer, checkpoint)
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise UserError(
            f"{checkpoint} cannot be loaded, although its hashes are intact: {reason}. Move it out of its folder to "
            "continue from the one before, or delete the folder of the run to start again.",
            ExitCode.CHECKPOINT,
        ) from None


def restore_weights(state: TrainState, checkpoint: Path) -> None:
    """Load the weights of a checkpoint, and the EMA if the state has one."""
    models.restore_weights(state.network, checkpoint / MODEL_FILE)
    if state.ema is not None:
        weights = [p.detach().clone() for p in state.network.parameters()]
        models.restore_weights(state.network, checkpoint / EMA_FILE)
        state.ema = [p.detach().clone() for p in state.network.parameters()]
        for parameter, weight in zip(state.network.parameters(), weights):
            parameter.data.copy_(weight)
