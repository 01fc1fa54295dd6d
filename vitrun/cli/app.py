"""The command line: every verb is a recipe plus ``key=value`` words."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vitrun.cli.dispatch import RUNNING, leaving, perform, told
from vitrun.errors import Mistake
from vitrun.runtime import distributed

# One line a verb, here and not in the recipes, so that `vitrun --help` imports nothing of them.
VERBS = {
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
SPREAD = ("pretrain", "finetune", "fewshot", "eval")  # over several ranks


def complete(ctx: typer.Context) -> list[str]:
    """What may come next; Typer takes of it what begins as the word does."""
    from vitrun.cli import help

    return help.complete(ctx.info_name, ctx.params["words"] or ())


class Command(TyperCommand):
    """A verb whose help ends with its options and what its groups offer."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print Typer's help, then the words."""
        from vitrun.cli import help

        super().format_help(ctx, formatter)
        typer.echo(help.describe(ctx.info_name))


Cfg = Annotated[bool, typer.Option("--cfg", help="Print every option and what set it, then stop.")]
Many = Annotated[bool, typer.Option("-m", "--multirun", help="Run every combination of KEY=A,B.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only.")]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pretrain, fine-tune, test and compare vision transformers as the paper did. VERB --help lists its options.",
)


def command(verb: str):
    """The function behind ``vitrun <verb>``; the verb's own module is imported only when it runs."""
    metavar = "[NAME] [KEY=VALUE]..." if verb == "data" else "[KEY=VALUE]..."
    Words = Annotated[list[str], typer.Argument(metavar=metavar, autocompletion=complete)]
    others = verb not in RUNNING  # whose help does not show what they refuse
    about = "Check everything, say what it would cost, write nothing."
    Dry = Annotated[bool, typer.Option("--dry-run", help=about, hidden=others)]
    Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON only.", hidden=others)]

    def function(
        words: Words = [],
        cfg: Cfg = False,
        dry_run: Dry = False,
        multirun: Many = False,
        quiet: Quiet = False,
        json: Json = False,
    ) -> None:
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # the Hub's client tells of every try; we tell how it ends
        if verb in (*RUNNING, "quickstart"):
            from vitrun.runtime import environment

            environment.keep_memory()
            environment.share_cores()
        if sys.stdout is None:  # closed before we began
            sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        for stream in filter(None, (sys.stdout, sys.stderr)):  # a terminal that has no ± shows another sign
            stream.reconfigure(errors="replace")
        with leaving(), told(verb), distributed.begun(), told(verb):  # the ranks part when all is said
            for flag, given in (("--dry-run", dry_run), ("--json", json)):
                if given and verb not in RUNNING:
                    raise Mistake(f"{flag} is for {', '.join(RUNNING)} only: take it out.")
            if distributed.size() > 1 and (multirun or verb not in SPREAD):
                what = "-m" if multirun else f"vitrun {verb}"
                raise Mistake(f"{what} runs in one process, not in {distributed.size()}: start it without torchrun.")
            if multirun:
                from vitrun.cli.multirun import carry_out

                flags = [*["--dry-run"] * dry_run, *["--quiet"] * quiet, *["--json"] * json]
                raise typer.Exit(carry_out(verb, words, cfg, flags, has_folder=verb in RUNNING))
            perform(verb, words, cfg, dry_run, quiet, json)

    return function


for _verb, _help in VERBS.items():
    # Unknown dashes reach us as words, so that the answer can show the right spelling.
    settings = {"ignore_unknown_options": True}
    app.command(_verb, help=_help, cls=Command, context_settings=settings)(command(_verb))
