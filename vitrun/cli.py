"""The command line: every verb is a recipe plus ``key=value`` words."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vitrun import ranks
from vitrun.mistakes import Exit, Mistake, Stopped

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
NEXT = {
    "pretrain": "vitrun finetune",
    "finetune": "vitrun eval",
    "fewshot": "vitrun compare",
    "eval": "vitrun compare",
    "dedup": "vitrun pretrain exclude={run}",
}
RUNNING = ("pretrain", "finetune", "fewshot", "eval", "dedup")
SPREAD = ("pretrain", "finetune", "fewshot", "eval")  # over several ranks


def complete(ctx: typer.Context) -> list[str]:
    """What may come next; Typer takes of it what begins as the word does."""
    from vitrun import offers

    return offers.complete(ctx.info_name, ctx.params["words"] or ())


class Command(TyperCommand):
    """A verb whose help ends with its options and what its groups offer."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print Typer's help, then the words."""
        from vitrun import offers

        super().format_help(ctx, formatter)
        typer.echo(offers.describe(ctx.info_name))


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
            from vitrun import process

            process.keep_memory()
            process.share_cores()
        if sys.stdout is None:  # closed before we began
            sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
        for stream in filter(None, (sys.stdout, sys.stderr)):  # a terminal that has no ± shows another sign
            stream.reconfigure(errors="replace")
        with leaving(), told(verb), ranks.begun(), told(verb):  # the ranks part when all is said
            for flag, given in (("--dry-run", dry_run), ("--json", json)):
                if given and verb not in RUNNING:
                    raise Mistake(f"{flag} is for {', '.join(RUNNING)} only: take it out.")
            if ranks.size() > 1 and (multirun or verb not in SPREAD):
                what = "-m" if multirun else f"vitrun {verb}"
                raise Mistake(f"{what} runs in one process, not in {ranks.size()}: start it without torchrun.")
            if multirun:
                from vitrun import sweep

                flags = [*["--dry-run"] * dry_run, *["--quiet"] * quiet, *["--json"] * json]
                raise typer.Exit(sweep.carry_out(verb, words, cfg, flags, has_folder=verb in RUNNING))
            perform(verb, words, cfg, dry_run, quiet, json)

    return function


@contextmanager
def leaving() -> Iterator[None]:
    """One of several ranks ends here, with the exit status of what is inside."""
    status = 0
    try:
        yield
    except typer.Exit as end:
        if ranks.size() == 1:
            raise
        status = end.exit_code
    ranks.leave(status)


@contextmanager
def told(verb: str) -> Iterator[None]:
    """A Mistake inside is a sentence on standard error, of one rank where there are several, and an exit status."""
    try:
        yield
    except Mistake as mistake:
        if ranks.rank() in getattr(mistake, "said_by", (0,)):
            typer.echo(f"vitrun {verb}: {mistake}", err=True)
        raise typer.Exit(mistake.status) from None
    except Stopped as stopped:
        raise typer.Exit(stopped.status) from None
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def perform(verb: str, words: list[str], cfg: bool, dry: bool, quiet: bool, as_json: bool) -> None:
    """Carry out one verb and show what it found."""
    from vitrun import grammar, origins, run, several, start, unread
    from vitrun.screen import Screen

    with ranks.together(), ranks.first():
        jobs = grammar.by_data(words) if verb == "fewshot" else [words]
        if len(jobs) == 1:
            recipe = start.load(verb, words, running=not cfg)
            unread.check(verb, [(words, recipe)])
    if len(jobs) > 1:
        several.main(jobs, cfg, lambda recipe: carried_out(verb, words, recipe, Screen(quiet, as_json), dry), as_json)
        return
    if cfg:
        if ranks.rank() == 0:
            typer.echo(origins.show(verb, words, recipe))
        return
    screen = Screen(quiet, as_json)
    result = carried_out(verb, words, recipe, screen, dry)
    name = run.name(verb, recipe) if verb in RUNNING and not dry else None
    if result is not None:
        screen.result({"run": name, **result} if name and as_json else result)
    if name:
        own = [word for word in words if word.startswith(("runs=", *["data=", "data."] * (verb == "dedup")))]
        screen.say(f"In {recipe.runs / name}. Next: {shlex.join([*NEXT[verb].format(run=name).split(), *own])}")
    if screen.lost:
        raise Mistake(f"Standard output took no more lines: {screen.lost}. Make room for them.", Exit.SPACE)


def carried_out(verb: str, words: list[str], recipe: Any, screen: Any, dry: bool) -> dict | None:
    """What a verb found; None for one that makes no run. Where the user stops it, how to go on is said."""
    from vitrun import run
    from vitrun.marks import marks

    def main(recipe: Any, place: Any) -> Any:  # the verb's module brings torch: it is imported when there is work to do
        for line in marks(verb, words, recipe):
            place.say(line)
        return import_module(f"vitrun.{verb}").main(recipe, place)

    try:
        if verb not in RUNNING:
            return main(recipe, screen)
        with ranks.together():
            return run.carry_out(verb, recipe, screen, main, dry)
    except Stopped as stopped:
        screen.warn(f"Stopped. To go on from here: vitrun {verb} {shlex.join(words)}".rstrip())
        raise typer.Exit(stopped.status) from None


for _verb, _help in VERBS.items():
    # Unknown dashes reach us as words, so that the answer can show the right spelling.
    settings = {"ignore_unknown_options": True}
    app.command(_verb, help=_help, cls=Command, context_settings=settings)(command(_verb))
