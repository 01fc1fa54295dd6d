"""Command line: commands and flags. Every command is a recipe plus ``KEY=VALUE`` overrides."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import vitrun
from vitrun.cli.dispatch import Flags, execute_command, exit_code_of_errors, has_flag
from vitrun.errors import UserError
from vitrun.runtime import environment

# One line for each command, here and not in the recipes, so that `vitrun --help` does not import them.
COMMAND_HELP = {
    "quickstart": "Run the whole chain with a small model, in two minutes.",
    "pretrain": "Train a model from scratch.",
    "finetune": "Adapt pretrained weights to a data set, at any resolution.",
    "fewshot": "Test frozen features with a few images per class.",
    "eval": "Measure the accuracy of a model on a test set.",
    "predict": "Classify your own images: files, folders, globs.",
    "dedup": "Find test images that are also in a training set.",
    "visualize": "Draw attention, filters and positions of a transformer.",
    "generate": "Sample images from an ImageGPT, or complete given ones.",
    "compare": "Show your finished runs beside published numbers.",
    "report": "Write a page about your runs: tables, curves, mistakes.",
    "export": "Write weights for timm, transformers, the JAX code, ONNX.",
    "models": "List the models, with their sizes.",
    "data": "List the data sets, with their sizes and sources.",
    "runs": "List your runs with their state, or delete some.",
    "doctor": "Show versions, devices, memory and disks.",
}


ARGUMENTS = {
    "data": "NAME | KEY=VALUE",
    "predict": "PATH | KEY=VALUE",
    "visualize": "PATH | KEY=VALUE",
    "runs": "rm NAME | KEY=VALUE",
}  # of commands that take more than overrides


def complete_override(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return all possible next overrides; Typer selects those that begin as typed."""
    try:
        from vitrun.cli import completion

        return completion.list_completions(ctx.info_name or "", ctx.params["overrides"] or (), incomplete)
    except UserError:  # in the user's config files or an installed plug-in: the command will report it
        return []


class Group(TyperGroup):
    """``vitrun`` without a command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the flags without the type that the help would show: they take no values."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            param.metavar = ""
        return params


class Command(TyperCommand):
    """Command whose help ends with its options and the choices of its groups."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters as the help of this command is to show them."""
        params: list[Any] = super().get_params(ctx)
        for param in params:
            if param.param_type_name == "argument":
                param.metavar = ARGUMENTS.get(str(self.name), "KEY=VALUE")
            elif param.name != "config_dir":
                param.metavar = ""
                param.hidden = not has_flag(str(self.name), str(param.name))
                param.is_eager = False  # --help too: it shows the files of --config-dir, wherever that is typed
        return params

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments, and note the overrides, whose options ``--help`` shows wherever it is typed."""
        ctx.meta["overrides"] = [argument for argument in args if not argument.startswith("-")]
        return list(super().parse_args(ctx, args))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write Typer's help, then the options."""
        with exit_code_of_errors(ctx.info_name):
            from vitrun.cli import help

            options = help.describe_options(ctx.info_name, ctx.meta["overrides"])
        super().format_help(ctx, formatter)
        formatter.write(f"\n{options}\n")


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text, in which help and pipes look alike, and which needs no import of rich
    context_settings={"max_content_width": 100},
    help="Pretrain, fine-tune, test and compare vision transformers as the paper did. "
    "`vitrun COMMAND --help` lists the options of a command.",
)


def print_version(value: bool) -> None:
    """Print the version and exit."""
    if value:
        typer.echo(f"vitrun {vitrun.__version__}")
        raise typer.Exit


@app.callback()
def read_global_flags(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Read the flags before the command."""


def use_config_dir(folder: Path | None) -> None:
    """Search a folder before vitrun's own, here and in the processes that vitrun starts."""
    if folder is not None:
        environment.set_config_folder(folder)


def execute(
    ctx: typer.Context,
    overrides: Annotated[list[str], typer.Argument(autocompletion=complete_override, hidden=True)] = [],
    cfg: Annotated[bool, typer.Option("--cfg", help="Print every option and what set it, then stop.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print what it would cost, write nothing.")
    ] = False,
    multirun: Annotated[
        bool, typer.Option("-m", "--multirun", help="Run every combination of KEY=A,B; jobs=N runs N at once.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON only; with -m a line for each job.")
    ] = False,
    config_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="A folder with models, data sets and recipes of your own. Default: ./conf, if there is one.",
            callback=use_config_dir,
            is_eager=True,
        ),
    ] = None,
) -> None:
    """Execute the command that Typer read from the command line."""
    execute_command(ctx.info_name or "", overrides, Flags(cfg, dry_run, multirun, quiet, json))


for _command, _help in COMMAND_HELP.items():
    # An unknown --option is read as an override, so that the error can show the right spelling.
    app.command(
        _command, help=_help, cls=Command, context_settings={"ignore_unknown_options": True, "max_content_width": 100}
    )(execute)
