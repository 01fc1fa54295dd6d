"""The command line: every verb is a recipe plus ``key=value`` words."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vitrun.mistakes import Exit, Mistake

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


def complete(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer options, and the files of a group.

    Bash cuts ``model=vi`` into ``model``, ``=`` and ``vi`` (and drops a trailing ``=``); other shells do not cut.
    """
    from vitrun import choices

    files = choices.groups(ctx.info_name)
    before, last = ["", "", *(ctx.params["words"] or ())][-2:]
    if last == "=":
        return list(files.get(before, []))
    if last and before != "=" and "=" not in last:
        return list(files.get(last, []))
    offered = [f"{group}={name}" for group, names in files.items() for name in names]
    return offered + [f"{key}=" for key in choices.options(ctx.info_name)]


class Command(TyperCommand):
    """A verb whose help ends with its options and what its groups offer."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print Typer's help, then the words."""
        super().format_help(ctx, formatter)
        typer.echo(describe(ctx.info_name))


def describe(verb: str) -> str:
    """The options of a verb as words with their values, and the choices of each of its groups."""
    from vitrun import choices, config

    tree = config.compose(verb, [])
    lines = ["Options, with their values:"]
    lines += [f"  {key}={choices.show_value(choices.reach(tree, key))}" for key in choices.leaves(tree)]
    for group, files in choices.groups(verb).items():
        lines += ["", f"Choices of {group}=:"]
        width = max(map(len, files))
        lines += [f"  {name.ljust(width)}  {about}" for name, about in files.items()]
    return "\n".join(lines)


Words = Annotated[list[str], typer.Argument(metavar="[KEY=VALUE]...", autocompletion=complete)]
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

    def function(
        words: Words = [],
        cfg: Cfg = False,
        dry_run: Dry = False,
        multirun: Many = False,
        quiet: Quiet = False,
        json: Json = False,
    ) -> None:
        try:
            for flag, given in (("--dry-run", dry_run), ("--json", json)):
                if given and verb not in RUNNING:
                    raise Mistake(f"{flag} is for {', '.join(RUNNING)} only: take it out.")
            if multirun:
                raise typer.Exit(
                    sweep(verb, words, cfg, [*["--dry-run"] * dry_run, *["--quiet"] * quiet, *["--json"] * json])
                )
            perform(verb, words, cfg, dry_run, quiet, json)
        except Mistake as mistake:
            typer.echo(f"vitrun {verb}: {mistake}", err=True)
            raise typer.Exit(mistake.status) from None
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output has gone, as `| head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    return function


def perform(verb: str, words: list[str], cfg: bool, dry: bool, quiet: bool, as_json: bool) -> None:
    """Carry out one verb and show what it found."""
    from vitrun import config, run, several, start
    from vitrun.screen import Screen

    if verb == "fewshot" and len(jobs := config.by_data(words)) > 1:
        several.main(jobs, cfg, lambda recipe: carried_out(verb, words, recipe, Screen(quiet, as_json), dry), as_json)
        return
    recipe = start.load(verb, words)
    if cfg:
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

    def main(recipe: Any, place: Any) -> Any:  # the verb's module brings torch: it is imported when there is work to do
        return import_module(f"vitrun.{verb}").main(recipe, place)

    try:
        return run.carry_out(verb, recipe, screen, main, dry) if verb in RUNNING else main(recipe, screen)
    except run.Stopped as stopped:
        screen.warn(f"Stopped. To go on from here: vitrun {verb} {' '.join(words)}".rstrip())
        raise typer.Exit(stopped.status) from None


def sweep(verb: str, words: list[str], cfg: bool, flags: list[str]) -> int:
    """Run a process for each combination, all checked before the first; the highest of their exit statuses."""
    from vitrun import config, start

    jobs = config.expand(verb, words)
    checked = [start.load(verb, job) for job in jobs]
    if cfg:
        typer.echo("\n\n".join(config.show(verb, job, recipe) for job, recipe in zip(jobs, checked)))
        return 0
    failed = {}
    for number, job in enumerate(jobs, 1):
        typer.echo(f"job {number}/{len(jobs)}: {verb} {' '.join(job)}", err=True)
        status = finished([sys.executable, "-m", "vitrun", verb, *job, *flags])
        if status in (Exit.INTERRUPTED, Exit.TERMINATED):
            return status
        if status:
            failed[" ".join(job)] = status
    for job, status in failed.items():
        typer.echo(f"failed with exit status {status}: vitrun {verb} {job}", err=True)
    return max(failed.values(), default=0)


def finished(command: list[str]) -> int:
    """The exit status of a process, waited for while it saves: Ctrl-C reaches it anyway, SIGTERM is passed on."""
    with subprocess.Popen(command) as process:
        hear = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda number, _: process.send_signal(number)}
        before = {number: signal.signal(number, handler) for number, handler in hear.items()}
        try:
            status = process.wait()
            return status if status >= 0 else 128 - status  # as a shell counts the end by a signal
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


for _verb, _help in VERBS.items():
    # Unknown dashes reach us as words, so that the answer can show the right spelling.
    settings = {"ignore_unknown_options": True}
    app.command(_verb, help=_help, cls=Command, context_settings=settings)(command(_verb))
