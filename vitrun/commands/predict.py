"""``vitrun predict``: the likeliest classes of a user's own images, or the objects that they show."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from vitrun import data, recipes
from vitrun.commands.drawing import Drawing
from vitrun.commands.prediction_files import Write, check_prediction_file, open_prediction_file
from vitrun.commands.prediction_rows import Columns, FoundObjects, Prediction, Row, format_csv
from vitrun.commands.predictors import Predictor, load_predictor
from vitrun.data.sources.messages import abbreviate
from vitrun.engine.inference import iterate_inference
from vitrun.engine.inputs import make_readable_batches, make_rectangle_batches
from vitrun.errors import ExitCode, UserError
from vitrun.recipes import trees
from vitrun.recipes.predict import MAX_TOP
from vitrun.runs.lookup import weights_fingerprint
from vitrun.runtime.console import Screen
from vitrun.runtime.device import Machine
from vitrun.runtime.path_patterns import STANDARD_INPUT, read_names
from vitrun.runtime.stop import defer_stop
from vitrun.runtime.text_tables import find_width

NAME_WIDTH = 40  # columns of the name of a file; a longer one is cut at its beginning
# options that do not change the predictions of an image
OTHER_OPTIONS = ("paths", "save", "draw", "force", "batch", "device", "runs")


def execute(recipe: recipes.Predict, screen: Screen) -> dict[str, Any]:
    """Print the predictions of all images, or write them to ``save``; return how many there are, and the file.

    Raise UserError (exit code 3) at the end if images could not be read.
    """
    identity = identify(recipe)
    if recipe.save is not None:
        check_prediction_file(recipe.save, identity, recipe.force)
    paths, left_out = list_paths(recipe)
    if left_out:
        screen.log(f"left out: {left_out}")
    predictor = load_predictor(recipe, screen)
    drawing = start_drawing(recipe, predictor, paths)
    with ExitStack() as stack:
        write, done = choose_output(recipe, identity, predictor.columns, screen, stack)
        remaining = [path for path in paths if name_path(path) not in done]
        number = len(paths) - len(remaining)
        if done and not remaining:
            screen.log(f"finished: all {number:,} images are in {recipe.save} (force=true classifies them again)")
        elif done:
            others = f"; it has {len(done) - number:,} other images too" if len(done) > number else ""
            screen.log(f"continuing: {number:,} of {len(paths):,} images are in {recipe.save}{others}")
        bar = stack.enter_context(screen.progress("predict", len(paths), number)) if recipe.save else None
        unreadable = [path for path in map(name_path, paths) if not done.get(path, True)]
        for rows in iterate_predictions(recipe, predictor, remaining):
            with defer_stop():
                write(rows)
            if drawing:
                drawing.draw(rows)
            number += len(rows)
            for row in rows:
                if row.error:
                    unreadable.append(row.path)
                    screen.warn(row.error)
            if bar:
                bar.update(number, f"{len(unreadable)} unreadable" if unreadable else "")
    if drawing:
        screen.log(f"Drawn: {drawing.number:,} images with their boxes in {recipe.draw}")
    return summarize(recipe, number, unreadable, screen)


def predict_images(recipe: recipes.Predict, screen: Screen) -> list[dict[str, Any]]:
    """Return the predictions of all images, for Python: those that cannot be read have an ``error``."""
    if recipe.save is not None:
        raise UserError("is for the command line: the predictions are returned.", option="save", value=str(recipe.save))
    paths, _ = list_paths(recipe)
    predictor = load_predictor(recipe, screen)
    drawing, result = start_drawing(recipe, predictor, paths), []
    for rows in iterate_predictions(recipe, predictor, paths):
        if drawing:
            drawing.draw(rows)
        result += [row.describe() for row in rows]
    return result


def list_paths(recipe: recipes.Predict) -> tuple[list[str], str]:
    """Return the images that a recipe names, and what was left out; raise UserError if there are none."""
    if not recipe.paths:
        why = "Give the images: files, folders, globs, or - to read their names from standard input."
        raise UserError(why, option="paths")
    names: list[str] = []
    for path in recipe.paths:
        names += read_names() if path == STANDARD_INPUT else (path,)
    paths, left_out = data.list_image_files(names)
    if not paths:
        what = f" Left out: {left_out.describe()}." if left_out.counts else ""
        raise UserError(f"There are no images in {abbreviate(names or recipe.paths)}.{what}", ExitCode.DATA, "paths")
    return paths, left_out.describe()


def start_drawing(recipe: recipes.Predict, predictor: Predictor, paths: Sequence[str]) -> Drawing | None:
    """Return the :class:`Drawing` of the boxes, None without ``draw=``. Raise UserError if the network finds none."""
    if recipe.draw is None:
        return None
    if predictor.columns.top is not None:
        why = f"draws boxes, which {recipe.init} does not find: give a detector, or leave it out."
        raise UserError(why, option="draw", value=str(recipe.draw))
    return Drawing(recipe.draw, paths, [*map(name_path, paths)], recipe.exif, recipe.force, predictor.names)


def iterate_predictions(recipe: recipes.Predict, predictor: Predictor, paths: Sequence[str]) -> Iterator[Sequence[Row]]:
    """Yield the predictions of batches of images, in order, with those that cannot be read."""
    machine = Machine(recipe.device, recipe.precision)
    errors: dict[int, str] = {}
    names = [*map(name_path, paths)]
    split = data.open_image_files(paths, predictor.names, recipe.exif, predictor.fast_jpeg)

    def report(index: int, error: UserError) -> None:
        errors[index] = str(error)

    options = (split, predictor.res, recipe.view, recipe.batch, machine, report)
    finds_objects = predictor.columns.top is None
    unreadable_row = FoundObjects if finds_objects else Prediction
    is_padded = finds_objects and recipe.view.resize in recipes.RECTANGLES
    batches = make_rectangle_batches(*options) if is_padded else make_readable_batches(*options)
    sized = (replace(batch, targets=(batch.sizes,)) for batch in batches)
    network = predictor.network.to(machine.device)
    for *outputs, indices in iterate_inference(network, sized, predictor.compute, machine):
        rows: dict[int, Row] = {}
        for index in pop_before(errors, indices):
            rows[index] = unreadable_row(names[index], error=errors.pop(index))
        for index, *values in zip(indices.tolist(), *outputs):
            rows[index] = predictor.describe(names[index], *values)
        yield [rows[index] for index in sorted(rows)]
    yield [unreadable_row(names[index], error=errors[index]) for index in sorted(errors)]


def pop_before(errors: dict[int, str], indices: np.ndarray) -> list[int]:
    """Return the images that could not be read before the last one of a batch."""
    return [index for index in list(errors) if index < indices[-1]]


def identify(recipe: recipes.Predict) -> dict[str, Any]:
    """Return what the predictions of an image depend on."""
    options = {key: value for key, value in trees.to_plain_tree(recipe).items() if key not in OTHER_OPTIONS}
    return {**options, "weights": weights_fingerprint(recipe.init, recipe.runs)}


def name_path(path: str) -> str:
    """Return a path as files of predictions have it: as it is, unless it is not UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return data.escape_name(path)
    return path


def choose_output(
    recipe: recipes.Predict, identity: dict[str, Any], columns: Columns, screen: Screen, stack: ExitStack
) -> tuple[Write, dict[str, bool]]:
    """Return the function that writes predictions, and the images in its file, each with whether it was readable."""
    if recipe.save is not None:
        return stack.enter_context(open_prediction_file(recipe.save, columns, identity, recipe.force))
    if not (screen.as_json or screen.is_terminal):
        screen.print(format_csv([], columns, header=True).rstrip("\n"))

    fewest = top = columns.top or 0  # classes that a line of the terminal had room for

    def print_rows(rows: Sequence[Row]) -> None:
        nonlocal fewest
        if screen.as_json:
            for row in rows:
                screen.write(json.dumps(row.describe()))
        elif screen.is_terminal:
            for row in rows:
                line, shown = format_line(row)
                fewest = min(fewest, shown)
                screen.print(line)
        elif rows:
            screen.print(format_csv(rows, columns).rstrip("\n"))

    def log_hidden_classes() -> None:
        if fewest < top:
            screen.log(f"Lines end after {fewest} of top={top} classes: a wider terminal, --json or save= shows all.")

    stack.callback(log_hidden_classes)
    return print_rows, {}


def format_line(row: Row) -> tuple[str, int]:
    """Return the name of an image with as many of its likeliest classes as fit into the terminal, and how many.

    Objects are counted by class. The number is ``MAX_TOP`` for them and for images that cannot be read: none is hidden.
    """
    name = row.path if len(row.path) <= NAME_WIDTH else f"...{row.path[3 - NAME_WIDTH :]}"
    line = name.ljust(NAME_WIDTH)
    if row.error:
        return f"{line}  cannot be read", MAX_TOP
    if isinstance(row, FoundObjects):
        counts = [f"{number} {name.partition(',')[0]}" for name, number in Counter(row.classes).most_common()]
        return f"{line}  {', '.join(counts) or 'no objects'}", MAX_TOP
    for position, (label, share) in enumerate(zip(row.classes, row.probabilities)):
        part = f"  {100 * share:5.1f} % {label.partition(',')[0]}"  # of several words for one class the first
        if position and len(line) + len(part) > find_width():
            return line, position
        line += part
    return line, MAX_TOP


def summarize(recipe: recipes.Predict, number: int, unreadable: Sequence[str], screen: Screen) -> dict[str, Any]:
    """Return the number of images and the file of their predictions; raise UserError if some could not be read."""
    if recipe.save is not None:
        screen.log(f"Written to {recipe.save}: {number - len(unreadable):,} predictions")
    if unreadable:
        raise UserError(
            f"{len(unreadable):,} of {number:,} images cannot be read: {abbreviate(unreadable, 3)}."
            + " The others are done." * (len(unreadable) < number),
            ExitCode.DATA,
        )
    return {"images": number, "path": str(recipe.save)} if recipe.save else {}
