"""The command line: every verb is a recipe plus ``key=value`` words."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
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


def complete(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer options, and the files of a group.

    Bash cuts ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not cut.
    """
    from vitrun import choices, rows

    typed, options = ctx.params["words"] or (), [f"{key}=" for key in choices.options(ctx.info_name)]
    if ctx.info_name == "data":
        return options if typed else list(rows.named())
    files = choices.groups(ctx.info_name)
    before, last = ["", "", *typed][-2:]
    if last == "=":
        return list(files.get(before, []))
    if last and before != "=" and "=" not in last:
        return list(files.get(last, []))
    return [f"{group}={name}" for group, names in files.items() for name in names] + options


class Command(TyperCommand):
    """A verb whose help ends with its options and what its groups offer."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print Typer's help, then the words."""
        super().format_help(ctx, formatter)
        typer.echo(describe(ctx.info_name))


def describe(verb: str) -> str:
    """The options of a verb as words with their values, and the choices of each of its groups."""
    from vitrun import choices, config, rows

    tree = config.compose(verb, [])
    offered = {f"{group}=": names for group, names in choices.groups(verb).items()}
    if verb == "data":
        offered = {"NAME": rows.named()}
    lines = ["Options, with their values:"]
    keys = [key for key in choices.leaves(tree) if key not in choices.groups(verb)]
    lines += [f"  {key}={choices.show_value(choices.reach(tree, key))}" for key in keys]
    for what, files in offered.items():
        lines += ["", f"Choices of {what}:"]
        width = max(map(len, files))
        lines += [f"  {name.ljust(width)}  {about}" for name, about in files.items()]
    return "\n".join(lines)


Cfg = Annotated[bool, typer.Option("--cfg", help="Print every option and what set it, then stop.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Check everything, say what it would cost, write nothing.")]
Many = Annotated[bool, typer.Option("-m", "--multirun", help="Run every combination of KEY=A,B.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print the result only.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON only.")]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Pretrain, fine-tune, test and compare vision transformers as the paper did. VERB --help lists its options.",
)


def command(verb: str):
    """The function behind ``vitrun <verb>``; the verb's own module is imported only when it runs."""
    metavar = "[NAME] [KEY=VALUE]..." if verb == "data" else "[KEY=VALUE]..."
    Words = Annotated[list[str], typer.Argument(metavar=metavar, autocompletion=complete)]

    def function(
        words: Words = [],
        cfg: Cfg = False,
        dry_run: Dry = False,
        multirun: Many = False,
        quiet: Quiet = False,
        json: Json = False,
    ) -> None:
        with leaving(), told(verb), ranks.begun(), told(verb):  # the ranks part when all is said
            for flag, given in (("--dry-run", dry_run), ("--json", json)):
                if given and verb not in RUNNING:
                    raise Mistake(f"{flag} is for {', '.join(RUNNING)} only: take it out.")
            if ranks.size() > 1 and (multirun or verb not in SPREAD):
                what = "-m" if multirun else f"vitrun {verb}"
                raise Mistake(f"{what} runs in one process, not in {ranks.size()}: start it without torchrun.")
            if multirun:
                raise typer.Exit(
                    sweep(verb, words, cfg, [*["--dry-run"] * dry_run, *["--quiet"] * quiet, *["--json"] * json])
                )
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
    from vitrun import config, run, several, start
    from vitrun.screen import Screen

    with ranks.together(), ranks.first():
        jobs = config.by_data(words) if verb == "fewshot" else [words]
        if len(jobs) == 1:
            recipe = start.load(verb, words)
    if len(jobs) > 1:
        several.main(jobs, cfg, lambda recipe: carried_out(verb, words, recipe, Screen(quiet, as_json), dry), as_json)
        return
    if cfg:
        if ranks.rank() == 0:
            typer.echo(config.show(verb, words, recipe))
        return
    screen = Screen(quiet, as_json)
    result = carried_out(verb, words, recipe, screen, dry)
    if result is None:
        return
    screen.result(result)
    if not dry:
        name = run.name(verb, recipe)
        screen.say(f"In {recipe.runs / name}. Next: {NEXT[verb].format(run=name)}")


def carried_out(verb: str, words: list[str], recipe: Any, screen: Any, dry: bool) -> dict | None:
    """What a verb found; None for one that makes no run. Where the user stops it, how to go on is said."""
    from vitrun import run
    from vitrun.marks import marks

    def main(recipe: Any, place: Any) -> Any:  # the verb's module brings torch: it is imported when there is work to do
        for line in marks(verb, words):
            place.say(line)
        return import_module(f"vitrun.{verb}").main(recipe, place)

    try:
        if verb not in RUNNING:
            return main(recipe, screen)
        with ranks.together():
            return run.carry_out(verb, recipe, screen, main, dry)
    except Stopped as stopped:
        screen.warn(f"Stopped. To go on from here: vitrun {verb} {' '.join(words)}".rstrip())
        raise typer.Exit(stopped.status) from None


def sweep(verb: str, words: list[str], cfg: bool, flags: list[str]) -> int:
    """Run a process for each combination, all checked before the first; the highest of their exit statuses."""
    from vitrun import config, jobs, start

    combinations = config.expand(verb, words)
    checked = [start.load(verb, job) for job in combinations]
    if cfg:
        typer.echo("\n\n".join(config.show(verb, job, recipe) for job, recipe in zip(combinations, checked)))
        return 0
    places = distinct(verb, combinations, checked)
    failed, status = [], 0
    for number, (job, place) in enumerate(zip(combinations, places), 1):
        typer.echo(f"job {number}/{len(combinations)}: {verb} {' '.join(job)}", err=True)
        status = jobs.carry_out(verb, [*job, *flags])
        if status in jobs.STOPPED:
            typer.echo(f"Stopped at job {number} of {len(combinations)}. The same command goes on.", err=True)
            break
        if status:
            failed.append((status, f"{verb} {' '.join(job)}", place))
    for code, job, place in failed:
        log = f" (its log is in {place})" if place is not None and place.is_dir() else ""
        typer.echo(f"failed with exit status {code}: vitrun {job}{log}", err=True)
    return status if status in jobs.STOPPED else max((code for code, *_ in failed), default=0)


def distinct(verb: str, combinations: list[list[str]], recipes: list[Any]) -> list[Path | None]:
    """The folder of each job's run, where the verb makes one; a Mistake where two jobs are the same."""
    from vitrun import run

    places = [recipe.runs / run.name(verb, recipe) if verb in RUNNING else None for recipe in recipes]
    seen: dict[Any, list[str]] = {}
    for job, recipe, place in zip(combinations, recipes, places):
        other = seen.setdefault(place or recipe, job)
        if other is not job:
            one, two = (" ".join(w for w in a if w not in b) for a, b in ((other, job), (job, other)))
            raise Mistake(f"{one} and {two} are the same {f'run, {place.name}' if place else 'job'}: keep one.")
    return places


for _verb, _help in VERBS.items():
    # Unknown dashes reach us as words, so that the answer can show the right spelling.
    settings = {"ignore_unknown_options": True}
    app.command(_verb, help=_help, cls=Command, context_settings=settings)(command(_verb))
