"""``launcher=slurm``: submit a command as a job instead of running it here, an array for ``-m`` and suites."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vitrun.errors import UserError, lookup
from vitrun.recipes import own_folder, tables
from vitrun.recipes.composition import format_config_path
from vitrun.recipes.slurm import Slurm
from vitrun.runtime import slurm
from vitrun.runtime.console import print_error
from vitrun.runtime.text_format import format_json

LAUNCHER, OPTIONS = "launcher", "slurm."  # launcher=slurm, and the beginning of its options
LOGS = "slurm"  # the folder in runs= with submitit's files and the output of jobs


def take_launcher(overrides: Sequence[str]) -> tuple[list[str], Slurm | None]:
    """Return the overrides without those of the launcher, and its request; None if there is no launcher.

    Raise UserError about a launcher or an option that there is not, or whose value is wrong.
    """
    own = [one for one in overrides if one.partition("=")[0] == LAUNCHER or one.startswith(OPTIONS)]
    pairs = dict(one.partition("=")[::2] for one in own)
    if not own:
        return list(overrides), None
    if LAUNCHER not in pairs:
        raise UserError(f"is for launcher=slurm: add that, or leave out {own[0]}.", option=own[0].partition("=")[0])
    lookup(tables.list_group_files(LAUNCHER), pairs.pop(LAUNCHER), "launcher", LAUNCHER)
    row = tables.read_row(LAUNCHER, "slurm")
    tables.validate_row(Slurm, row, format_config_path(f"{LAUNCHER}/slurm"))
    for option, text in pairs.items():
        lookup({f"{OPTIONS}{name}": name for name in row}, option, "option", option)
        row[option.removeprefix(OPTIONS)] = None if text == "null" else text
    return [one for one in overrides if one not in own], validate(row, pairs)


def validate(row: dict[str, Any], pairs: dict[str, str]) -> Slurm:
    """Return the request; raise UserError about the option that is wrong."""
    from pydantic import TypeAdapter, ValidationError

    try:
        request: Slurm = TypeAdapter(Slurm).validate_python(row)
        return request
    except ValidationError as error:
        first: dict[str, Any] = dict(error.errors()[0])
        option = f"{OPTIONS}{first['loc'][0]}"
        why = tables.explain_error(first, list(row)).removeprefix(f"{first['loc'][0]}={pairs.get(option)}: ")
        raise UserError(why, option=option, value=pairs.get(option, "")) from None


def launch(
    command: str, jobs: Sequence[Sequence[str]], request: Slurm, runs: Path, at_once: int = 0, as_json: bool = False
) -> None:
    """Submit each of the ``jobs``, lists of overrides of a command, and print how to look at them."""
    flags = own_folder.list_flags()
    commands = [[command, *overrides, *flags] for overrides in jobs]
    folder = (runs / LOGS).absolute()
    submitted = slurm.submit(commands, make_parameters(command, request), folder, at_once)
    number = str(submitted[0].job_id).partition("_")[0]
    if as_json:
        print(format_json({"job": number, "jobs": len(submitted), "logs": str(folder)}))
        return
    what = f"array job {number} of {len(submitted)} jobs" if len(submitted) > 1 else f"job {number}"
    print_error(
        f"Submitted {what}: {request.nodes} node(s) with {request.gpus} GPU(s) for {request.time} minutes each."
    )
    for job, overrides in zip(submitted, jobs):
        print_error(f"  {job.job_id}: vitrun {command} {shlex.join(overrides)}".rstrip())
    print_error(f"Output in {folder}. To watch: vitrun runs --watch, squeue -j {number}; to cancel: scancel {number}.")


def make_parameters(command: str, request: Slurm) -> dict[str, Any]:
    """Return the request as submitit's parameters: a rank for each GPU."""
    parameters: dict[str, Any] = {
        "name": f"vitrun-{command}",
        "timeout_min": request.time,
        "nodes": request.nodes,
        "tasks_per_node": request.ranks,
        "cpus_per_task": request.cpus,
        "slurm_signal_delay_s": request.signal_seconds,
        "slurm_additional_parameters": {"requeue": True},  # after preemption SLURM starts the job again by itself
        "max_num_timeout": request.requeues,
    }
    optional = {
        "gpus_per_node": request.gpus or None,
        "mem_gb": request.memory_gb,
        "slurm_partition": request.partition,
        "slurm_account": request.account,
    }
    return parameters | {name: value for name, value in optional.items() if value is not None}
