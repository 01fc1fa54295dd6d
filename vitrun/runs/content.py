"""What a recipe computes with, by its content: not by the place where data and weights lie, nor how it is spelt."""

import os
from collections.abc import Iterator
from typing import Any

from vitrun.papers.vtab_tasks import TASKS
from vitrun.recipes import is_url, tables
from vitrun.runs.folder_content import Content, examine, examine_images, survey_folder
from vitrun.runtime.path_patterns import expand_pattern

PLACES = ("path", "root", "real", "images")  # options of a data set that say where something lies
BY_TASK = ("vtab", "suite")  # sources whose images are published: the name of a task says which they are
TABLE_SOURCES = ("table", "captions", "coco")  # whose path may be a file that names images
OWN_SOURCES = ("files", "shards", "pairs")  # sources that read no file with a suffix of UNREAD_SUFFIXES


def drop_places(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a recipe without places: the weights and lists of keys by hash, a data set by its row."""
    result = dict(options)
    for option in ("init", "teacher"):
        if isinstance(result.get(option), str):
            result[option] = drop_path(result[option])
    if result.get("exclude"):
        result["exclude"] = [drop_path(name) for name in result["exclude"]]
    if result.get("images"):
        result["images"] = len(result["images"])
    if os.path.isabs(result.get("prompts") or ""):
        result["prompts"] = "elsewhere"
    for group in tables.DATA_GROUPS:
        if isinstance(data := result.get(group), dict):
            placed = {key: "elsewhere" for key in PLACES if data.get(key) is not None}
            result[group] = data | {"name": tables.find_data_row(data)} | placed
    return result


def drop_path(pinned: str) -> str:
    """Return ``#HASH`` of ``PATH#HASH``; any other name as it is."""
    path, _, digits = pinned.rpartition("#")
    return f"#{digits}" if path else pinned


def identify_content(options: dict[str, Any]) -> dict[str, str]:
    """Return a fingerprint of what lies at each place that a recipe names, by its option."""
    return {option: content.fingerprint for option, content in examine_places(options) if content.fingerprint}


def describe_state(options: dict[str, Any]) -> dict[str, str]:
    """Return the state of what lies at each place of which not every byte counts in its fingerprint, by its option."""
    states = {option: content.state for option, content in examine_places(options) if not content.is_whole}
    data = options.get("data") or {}
    if data.get("source") == "vtab":
        folder = data["path"] or os.path.join(data["root"] or "", TASKS[data["task"]].builder)
        states["data.path" if data["path"] else "data.root"] = survey_folder(str(folder)).state.hexdigest()
    return states


def examine_places(options: dict[str, Any]) -> Iterator[tuple[str, Content]]:
    """Yield each option of a recipe that names a file or folder with data, and what lies there."""
    for group in tables.DATA_GROUPS:
        data = options.get(group) or {}
        for key in PLACES if data.get("source") not in BY_TASK else ():
            if data.get(key) is not None and not is_downloaded(data):
                yield f"{group}.{key}", examine(data[key], data.get("source") in OWN_SOURCES)
        if folder := find_named_images(data):
            boxes = data["source"] == "coco" and not str(data["path"]).lower().endswith(".json")
            yield f"{group}.images", examine_images(folder, [".txt"] if boxes else [])  # the labels of YOLO's layout
        for part in ("train", "test"):
            if (other := find_other_place(data, part)) is not None:
                yield f"{group}.{part}", examine(other, data["source"] in OWN_SOURCES)
    for option, prompts in find_prompt_files(options):
        yield option, examine(prompts, False)
    for number, path in enumerate((options.get("fewshot") or {}).get("paths", ())):
        if path is not None:
            yield f"fewshot.paths.{number}", examine(path, True)
    for number, pattern in enumerate(options.get("images") or ()):
        for place, path in enumerate(expand_pattern(pattern)):
            try:
                content = examine(path, True)
            except OSError:  # a file without permission, which is named once it is read as an image
                continue
            yield f"images.{number}.{place}", content


def find_named_images(data: dict[str, Any]) -> str | None:
    """Return the folder of the images that a file names, if it is that of the file; else None."""
    path = os.path.expanduser(str(data.get("path")))
    if data.get("source") not in TABLE_SOURCES or data.get("images") is not None or not os.path.isfile(path):
        return None
    return os.path.dirname(os.path.abspath(path))


def find_other_place(data: dict[str, Any], part: str) -> str | None:
    """Return the file or folder of a part if it is outside of what ``data.path`` names; else None."""
    given = data.get(part)
    if data.get("path") is None or not isinstance(given, str) or is_url(given):
        return None
    base = os.path.expanduser(str(data["path"]))
    if os.path.isfile(base):
        place = os.path.join(os.path.dirname(base), given)
        return place if os.path.isfile(place) else None
    if not os.path.isabs(given) and ".." not in given.split("/"):
        return None
    place = os.path.join(base, given)
    return next(filter(os.path.exists, (place, os.path.dirname(place))), None)  # that of a pattern is its folder


def find_prompt_files(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each option of prompts that names a file, with its path."""
    objective = options.get("objective") or {}
    for option, prompts in (("prompts", options.get("prompts")), ("objective.prompts", objective.get("prompts"))):
        if isinstance(prompts, str) and os.path.isfile(os.path.expanduser(prompts)):
            yield option, os.path.expanduser(prompts)


def list_places(options: dict[str, Any]) -> dict[str, str]:
    """Return the real path of each file or folder with data that a recipe names, by its option."""
    data = options.get("data") or {}
    named = {key: data[key] for key in PLACES if data.get(key) is not None and not is_downloaded(data)}
    return {f"data.{key}": os.path.realpath(os.path.expanduser(place)) for key, place in named.items()}


def is_downloaded(data: dict[str, Any]) -> bool:
    """Return whether ``data.path`` is where files are downloaded to: their URLs say which they are."""
    return any(is_url(str(data.get(part))) for part in ("train", "test"))
