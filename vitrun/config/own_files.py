"""Report which files a command reads from the user's own folder: in the first lines of a run, and in errors."""

from collections.abc import Sequence

from vitrun.config import compose, provenance
from vitrun.errors import UserError
from vitrun.recipes import Recipe, composition, own_folder
from vitrun.runs import lookup

RANDOM = "random:"  # how an ``init`` begins that names a row of the model table


def describe_replaced_files(command: str, overrides: Sequence[str], recipe: Recipe) -> list[str]:
    """Return a line for each file that a command reads from the user's folder instead of vitrun's of the same name."""
    if len(composition.config_folders()) == 1:
        return []
    layers = compose.choose_layers(command, compose.parse_overrides(command, overrides), lookup.model_row_of(recipe))
    files = compose.list_files(command, layers.choices)
    if (init := str(getattr(recipe, "init", None))).startswith(RANDOM):
        files += composition.list_composed_files(None, [f"+model@row={init.removeprefix(RANDOM)}"])
    paths = dict.fromkeys(file.path for file in files)
    return [
        f"{composition.format_config_path(path)} replaces vitrun's file of that name"
        for path in paths
        if composition.is_own(composition.find_config_file(path)) and (composition.CONF / f"{path}.yaml").is_file()
    ]


def name_own_file(command: str, overrides: Sequence[str], error: UserError) -> UserError:
    """Return the error of an option with the user's file that set it; the same error if none did."""
    folders = composition.config_folders()
    if len(folders) == 1 or error.option is None:
        return error
    try:
        source = provenance.trace_sources(command, overrides, None).get(error.option, "")
    except UserError:
        return error
    if not str(source).startswith(f"{own_folder.format_path(folders[0])}/"):
        return error
    return UserError(f"In {source}: {error}", error.status, error.option)
