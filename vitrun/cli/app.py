"""The command line: every command is a recipe plus ``key=value`` overrides."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vitrun.cli.dispatch import RUN_COMMANDS, exit_rank, report_errors, run_command
from vitrun.errors import UserError
from vitrun.runtime import distributed

# One line a command, here and not in the recipes, so that `vitrun --help` imports nothing of them.
COMMAND_HELP = {
    "quickstart": "Run the whole chain with a small model on the embedded data, in two minutes.",
    "pretrain": "Train a model from scratch.",
    "finetune": "Adapt pretrained weights to a data set, at any resolution.",
    "fewshot": "Measure frozen features with a closed-form classifier on 1, 5, 10, 25 images a class.",
    "eval": "Count how often a model's answers on a test set are right.",
    "dedup": "Find the test images that a training set holds too, exactly or nearly.",
    "compare": "Show your finished runs beside the paper's published numbers.",
    "export": "Write weights in the form that timm, transformers, the JAX code or ONNX reads.",
    "models": "List the models, with their sizes.",
    "data": "List the data sets, with their sizes and sources.",
}
DISTRIBUTED_COMMANDS = ("pretrain", "finetune", "fewshot", "eval")  # over several ranks


def complete_override(ctx: typer.Context) -> list[str]:
    """What may come next; Typer takes of it what begins as the override does."""
    from vitrun.cli import help

    return help.list_completions(ctx.info_name, ctx.params["overrides"] or ())


class Command(TyperCommand):
    """A command whose help ends with its options and what its groups offer."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print Typer's help, then the overrides."""
        from vitrun.cli import help

        super().format_help(ctx, formatter)
        typer.echo(help.describe_options(ctx.info_name))


Cfg = Annotated[bool, typer.Option("--cfg", help="Print every option and what set it, then stop.")]
Multirun = Annotated[bool, typer.Option("-m", "--multirun", help="Run every combination of KEY=A,B.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only.")]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pretrain, fine-tune, test and compare vision transformers as the paper did. VERB --help lists its options.",
)


def build_command(command: str):
    """The function behind ``vitrun <command>``; the command's own module is imported only when it runs."""
    metavar = "[NAME] [KEY=VALUE]..." if command == "data" else "[KEY=VALUE]..."
    Overrides = Annotated[list[str], typer.Argument(metavar=metavar, autocompletion=complete_override)]
    others = command not in RUN_COMMANDS  # whose help does not show what they refuse
    about = "Check everything, say what it would cost, write nothing."
    Dry = Annotated[bool, typer.Option("--dry-run", help=about, hidden=others)]
    Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON only.", hidden=others)]

    def function(
        overrides: Overrides = [],
        cfg: Cfg = False,
        dry_run: Dry = False,
        multirun: Multirun = False,
        quiet: Quiet = False,
        json: Json = False,
    ) -> None:
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # the Hub's client tells of every try; we tell how it ends
        if command in (*RUN_COMMANDS, "quickstart"):
            from vitrun.runtime import environment

            environment.keep_freed_memory()
            environment.share_cores()
        if sys.stdout is None:  # closed before we began
            sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        for stream in filter(None, (sys.stdout, sys.stderr)):  # a terminal that has no ± shows another sign
            stream.reconfigure(errors="replace")
        with (
            exit_rank(),
            report_errors(command),
            distributed.process_group(),
            report_errors(command),
        ):  # the ranks part when all is said
            for flag, given in (("--dry-run", dry_run), ("--json", json)):
                if given and command not in RUN_COMMANDS:
                    raise UserError(f"{flag} is for {', '.join(RUN_COMMANDS)} only: take it out.")
            if distributed.world_size() > 1 and (multirun or command not in DISTRIBUTED_COMMANDS):
                what = "-m" if multirun else f"vitrun {command}"
                raise UserError(
                    f"{what} runs in one process, not in {distributed.world_size()}: start it without torchrun."
                )
            if multirun:
                from vitrun.cli.multirun import run_combinations

                flags = [*["--dry-run"] * dry_run, *["--quiet"] * quiet, *["--json"] * json]
                raise typer.Exit(run_combinations(command, overrides, cfg, flags, has_folder=command in RUN_COMMANDS))
            run_command(command, overrides, cfg, dry_run, quiet, json)

    return function


for _command, _help in COMMAND_HELP.items():
    # Unknown dashes reach us as overrides, so that the answer can show the right spelling.
    settings = {"ignore_unknown_options": True}
    app.command(_command, help=_help, cls=Command, context_settings=settings)(build_command(_command))
