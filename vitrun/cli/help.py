"""Options of a command for its help: what each means, its value, and the choices of each group."""

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from textwrap import wrap
from typing import Any

from vitrun.config import compose, data_args, recipe_file
from vitrun.recipes import composition, descriptions, options, tables, trees
from vitrun.recipes.descriptions import Option

LINE_WIDTH, DESCRIPTION_COLUMN = 100, 34  # characters: of a line, and before the description of an option
MAX_VALUE = 60  # characters of a value; --cfg prints all
# Options by section, the common ones first. A name wins over a pattern; an option of neither belongs to OTHER_SECTION.
SECTIONS = {
    "Common options": "init paths top show save model data images against name data.path data.root protocol steps "
    "epochs batch optim.lr res shots to paper seed runs",
    "Data": "data.* against.* exclude dev bad_images dedup match",
    "Model": "model.* init_* head dropout stochastic_depth head_bias",
    "Objective": "objective objective.* detect.* loss smoothing",
    "Training": "examples warmup schedule schedule_end timescale cooldown drops drop_every drop_factor clip ema train "
    "freeze balance class_weights",
    "Optimizer": "optim optim.* body_lr",
    "Teacher (Noisy Student)": "teacher rounds unlabelled unlabelled.* pseudo.*",
    "Search and seeds": "grid decays seeds score",
    "Augmentation and resizing": "data.crop data.area data.flip augment augment.* view.*",
    "Few-shot probe during the training": "fewshot.*",
    "Running": "device precision micro_batch checkpointing on save_minutes on_nan rank_timeout report track",
}
OTHER_SECTION = {
    "pretrain": "Training",
    "finetune": "Training",
    "fewshot": "Probe",
    "eval": "Test",
    "dedup": "Search",
    "visualize": "Figures",
    "generate": "Samples",
}
OTHER_OPTIONS = "Other options"
LISTED_BY = {"model": "vitrun models"} | dict.fromkeys(tables.DATA_GROUPS, "vitrun data")  # groups with many choices


def describe_options(command: str, overrides: Sequence[str] = ()) -> str:
    """Return the options of a command, by section, with their descriptions and their values after the ``overrides``.

    Other words among the overrides are passed over, but for the name of a data set of ``vitrun data``.
    """
    names = data_args.list_datasets() if command == "data" else {}
    overrides = [override for override in overrides if "=" in override or override in names]
    tree = compose.compose_config(command, overrides)
    values = {key: trees.get_value(tree, key) for key in trees.iterate_keys(tree)} | list_chosen(command, overrides)
    described = [option for option in descriptions.list_described(command) if is_settable(command, option)]
    own = [option for option in described if option.key in values and is_chosen(option, values)]
    others = [option for option in described if option.key not in {one.key for one in own}]
    lines: list[str] = []
    for section in dict.fromkeys([*SECTIONS, OTHER_SECTION.get(command, OTHER_OPTIONS)]):
        keys = SECTIONS.get(section, "").split()
        members = [option for option in own if section == find_section(command, option.key)]
        members.sort(key=lambda option: keys.index(option.key) if option.key in keys else len(keys))
        lines += ["", f"{section}:"] if members else []
        for option in members:
            lines += format_option(command, option, values[option.key])
    if others:
        choice = "NAME" if command == "data" else f"{others[0].key.partition('.')[0]}=NAME"
        lines += [
            "",
            f"Options that come with other choices; add one to see their values: vitrun {command} {choice} --help",
        ]
        lines += describe_others(command, others)
    lines += ["", f"{recipe_file.KEY}=FILE reads options of your own from a YAML file; those that are typed win."]
    return "\n".join([*lines[1:], *describe_choices(command)])


def list_chosen(command: str, overrides: Sequence[str]) -> dict[str, str | None]:
    """Return the choice of each group of a command."""
    groups = tables.list_groups(command)
    pairs = compose.parse_overrides(command, overrides)
    files = compose.list_files(command, compose.choose_layers(command, pairs).choices)
    chosen: dict[str, str | None] = dict.fromkeys(groups)
    for path, package, _ in files:
        folder = f"{tables.group_folder(package)}/"
        if package in groups and path.startswith(folder) and path.removeprefix(folder) in groups[package]:
            chosen[package] = path.removeprefix(folder)
        if "protocol" in groups and path.startswith("protocol/"):
            chosen["protocol"] = path.removeprefix("protocol/")
    return chosen


def is_settable(command: str, option: Option) -> bool:
    """Return whether an option is a value or the choice of a group, and is not set by such a choice."""
    group, _, name = option.key.rpartition(".")
    if name in compose.DISCRIMINATORS or (
        name == "name" and group.partition(".")[0] in compose.ROW_GROUPS and "timm" not in option.kinds
    ):
        return False
    return option.key in options.list_options(command) or option.key in tables.list_groups(command)


def is_chosen(option: Option, values: dict[str, Any]) -> bool:
    """Return whether an option is of the class that the choice of its group has."""
    return not option.kinds or values.get(option.discriminator) in option.kinds


def find_section(command: str, key: str) -> str:
    """Return the section of an option."""
    for matches in (lambda pattern: key == pattern, lambda pattern: fnmatch(key, pattern)):
        for section, patterns in SECTIONS.items():
            if any(map(matches, patterns.split())):
                return section
    return OTHER_SECTION.get(command, OTHER_OPTIONS)


def format_option(command: str, option: Option, value: object = ...) -> list[str]:
    """Return the lines of an option: the override that sets its value, if that is known, and its description."""
    text = "" if value is ... else trees.format_value(value)
    override = f"  {option.key}={text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 3] + '...'}"
    allowed = options.list_allowed_values(command, option.key)
    groups = tables.list_groups(command)
    end = f" (one of {', '.join(allowed)})" if len(allowed) > 1 else ""
    if option.key in groups:
        end = f" ({len(groups[option.key])} choices, below)"
    body = wrap(option.description + end, LINE_WIDTH - DESCRIPTION_COLUMN, break_long_words=False)
    first = [] if len(override) > DESCRIPTION_COLUMN - 2 else [override.ljust(DESCRIPTION_COLUMN) + body.pop(0)]
    return [*(first or [override]), *(" " * DESCRIPTION_COLUMN + line for line in body)]


def describe_others(command: str, others: Sequence[Option]) -> Iterator[str]:
    """Yield the lines of options that the chosen file of a group does not have, with the choices that have them."""
    shared: set[str] = set()
    for discriminator, kinds in dict.fromkeys(option.choice for option in others):
        group = discriminator.partition(".")[0]
        if group in tables.GROUP_FOLDERS:
            if group not in shared:
                yield from ("", f"{group}= has the options of {tables.GROUP_FOLDERS[group]}=.")
            shared.add(group)
            continue
        names = [name for name in tables.list_groups(command).get(group, ()) if read_kind(group, name) in kinds]
        if not names:  # a class that is only part of another
            continue
        few = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
        yield from ("", f"With {group}={few}:")
        members: dict[str, Option] = {}  # two towers may have an option of one name
        for option in others:
            if option.choice == (discriminator, kinds):
                members.setdefault(option.key, option)
        for option in members.values():
            yield from format_option(command, option)


def read_kind(group: str, name: str) -> str | None:
    """Return the discriminator in a file of a group, or in the first that it inherits from; read without YAML."""
    file = composition.find_config_file(f"{tables.group_folder(group)}/{name}")
    text = file.read_text(encoding="utf-8", errors="replace")
    if match := re.search(rf"^({'|'.join(descriptions.DISCRIMINATORS)}): *(\w+)", text, re.MULTILINE):
        return match[2]
    parent = re.search(r"^defaults:\s*(?:\[|- )(?:/?data/)?([\w/]+)", text, re.MULTILINE)
    return read_kind(group, f"{name.rpartition('/')[0]}/{parent[1]}".lstrip("/")) if parent else None


def describe_choices(command: str) -> Iterator[str]:
    """Yield the lines of the choices of each group: with what they are, or the command that lists them."""
    choices = {f"{group}=": names for group, names in tables.list_groups(command).items()}
    if command == "data":
        choices = {"NAME": data_args.list_datasets()}
    for title, names in choices.items():
        if lister := LISTED_BY.get(title.rstrip("=")):
            yield from ("", f"Choices of {title} (`{lister}` describes them):")
            yield from wrap("  ".join(names), LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")
            continue
        yield from ("", f"Choices of {title}:")
        width = max(map(len, names)) + 4
        for name, header in names.items():
            first, *rest = wrap(header, LINE_WIDTH - width) or [""]
            yield f"  {name.ljust(width - 4)}  {first}".rstrip()
            yield from (" " * width + line for line in rest)
