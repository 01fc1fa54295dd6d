"""Find the network in a training program's file: undo what wraps the names of tensors, and choose one of several.

A name such as ``state_dict_ema.module.blocks.0.norm1.weight`` has a prefix: keys of the dicts in a file, and the
attributes that DDP, torch.compile, Lightning or a module of one's own put before the network. Whatever they are and
in whatever order, the prefix is what precedes the names by which a layout is known.
"""

import re
from dataclasses import dataclass, field

from vitrun.errors import ExitCode, UserError
from vitrun.models.tensor_files import Shapes, Weights, format_keys, weights_error

# Names of wrappers that stand anywhere in a name: of torch.compile, FSDP, activation checkpointing, DeepSpeed
INSIDE = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
LANDMARKS = (  # names that the tensors of a layout always have; all of one row follow the same prefix
    ("patch_embed.proj.weight", "blocks.0.norm1.weight"),  # timm's ViT
    ("stem.conv.weight", "stages.0.blocks.0.norm1.weight", "norm.weight"),  # timm's BiT
    ("embeddings.patch_embeddings.projection.weight",),  # transformers
    ("class_token", "conv_proj.weight", "encoder.pos_embedding"),  # torchvision
    ("visual.conv1.weight", "token_embedding.weight", "text_projection"),  # open_clip
    ("vision_model.embeddings.class_embedding", "visual_projection.weight", "logit_scale"),  # transformers' CLIPModel
)
CONTAINERS = (  # prefixes of other networks, of which no names are known: only these are undone
    "state_dict", "state_dict_ema", "model", "model_state_dict", "model_state", "model_ema", "ema", "ema_state_dict",
    "module", "net", "network", "backbone", "timm_model", "teacher", "student",
)  # fmt: skip
STATES = (  # what training programs save beside networks: the state of what else has one
    "optimizer", "optimizers", "optimizer_state_dict", "optimizer_states", "optim", "scheduler", "lr_scheduler",
    "lr_schedulers", "scaler", "amp_scaler", "loss_scaler", "grad_scaler", "criterion", "rng_state", "callbacks",
    "loops",
)  # fmt: skip
AVERAGED = {"ema", "averaged", "average", "avg", "swa", "polyak", "teacher", "target", "momentum"}  # parts of a prefix
PLAIN = {"student", "online", "current"}  # parts of a prefix beside which the other weights are the averaged ones
CHOICES = "auto, ema, plain, or the name of the weights in the file"

Networks = dict[str, dict[str, str]]  # prefix -> name in the network -> name in the file


@dataclass(frozen=True)
class Unwrapped:
    """The tensors of one network by their own names, and what else the file has."""

    weights: Weights
    beside: dict[str, list[str]] = field(default_factory=dict)  # reason -> names in the file
    notes: list[str] = field(default_factory=list)


def unwrap(weights: Weights, choice: str = "auto") -> Unwrapped:
    """Return the network in a file without the prefixes of its names.

    Of plain and averaged weights ``choice`` takes one: ``auto`` the averaged, as timm does; ``ema``, ``plain``, or a
    name in the prefix. Raise a UserError if the file does not have them, or if it has several networks.
    """
    if "vitrun" in weights.metadata:  # its names are vitrun's own
        names, prefixes = {name: name for name in weights}, [""]
    else:
        names = strip_inside(weights)
        prefixes = find_prefixes(names) or find_containers(names)
    networks, outside = split_networks(names, prefixes)
    averaged = {prefix for prefix in prefixes if is_averaged(prefix, prefixes)}
    chosen = choose_network(weights, networks, averaged, choice)
    beside = {f"in {describe(prefix)}": [*content.values()] for prefix, content in networks.items() if prefix != chosen}
    if outside:
        parts = dict.fromkeys(".".join(name.split(".")[:2]) for name in outside)
        beside[f"beside the network, as {format_keys(parts)}"] = outside
    notes = [describe_choice(chosen, list(networks), averaged)] if len(networks) > 1 else []
    return Unwrapped(weights.rename(networks[chosen]), beside, notes)


def split_networks(names: dict[str, str], prefixes: list[str]) -> tuple[Networks, list[str]]:
    """Return the names in the file of each prefix's network, by their names without it, and those of none."""
    networks: Networks = {prefix: {} for prefix in prefixes}
    outside = []
    for name, source in names.items():
        prefix = max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=None)
        if prefix is None:
            outside.append(source)
        else:
            networks[prefix][name.removeprefix(prefix)] = source
    return networks, outside


def strip_inside(weights: Weights) -> dict[str, str]:
    """Return the names in the file, by these names without the wrappers that stand anywhere in one."""
    names: dict[str, str] = {}
    for source in weights:
        name = INSIDE.sub("", source)
        if name in names:
            raise weights_error(weights.path, f"it has both {names[name]} and {source}, which are one tensor.")
        names[name] = source
    return names


def find_prefixes(names: dict[str, str]) -> list[str]:
    """Return each prefix that all names of a layout's row of ``LANDMARKS`` follow."""
    prefixes = []
    for first, *others in LANDMARKS:
        for name in names:
            prefix = name.removesuffix(first)
            if prefix != name and prefix[-1:] in ("", ".") and all(f"{prefix}{other}" in names for other in others):
                prefixes.append(re.sub(r"(?<![^.])vit\.$", "", prefix) if "patch_embeddings" in first else prefix)
    return list(dict.fromkeys(prefixes))


def find_containers(names: dict[str, str], prefix: str = "") -> list[str]:
    """Return the prefixes of containers, of any depth, in which all tensors are."""
    first = dict.fromkeys(name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix))
    parts = [part for part in first if prefix or part not in STATES]
    if not parts or not set(parts) <= set(CONTAINERS):
        return [prefix]
    return [content for part in parts for content in find_containers(names, f"{prefix}{part}.")]


def is_averaged(prefix: str, prefixes: list[str]) -> bool:
    """Return whether a prefix, one of those in a file, says that its weights are an average over steps."""
    if AVERAGED & split_words(prefix):
        return True
    others = [other for other in prefixes if other != prefix]
    return len(others) == 1 and bool(PLAIN & split_words(others[0])) and not AVERAGED & split_words(others[0])


def split_words(prefix: str) -> set[str]:
    """Return the words in a prefix: of ``state_dict_ema.module.`` state, dict, ema and module."""
    return set(re.split(r"[._]", prefix.lower()))


def choose_network(weights: Weights, networks: Networks, averaged: set[str], choice: str) -> str:
    """Return the prefix of the network that ``choice`` names. Raise a UserError if none or several do."""
    prefixes = list(networks)
    if choice == "auto":
        chosen = [prefix for prefix in prefixes if prefix in averaged] or prefixes
        if not are_alike(weights, *networks.values()):
            chosen = prefixes  # such as a teacher of another size, which is not an average
    elif choice in ("ema", "plain"):
        chosen = [prefix for prefix in prefixes if (prefix in averaged) == (choice == "ema")]
    else:
        chosen = [prefix for prefix in prefixes if f".{choice.rstrip('.')}." in f".{prefix}"]
    if len(chosen) == 1:
        return chosen[0]
    content = ", ".join(describe(prefix) for prefix in prefixes)
    if chosen:
        example = describe(chosen[-1]).split(".")[0]
        raise weights_error(weights.path, f"it has several networks: {content}. Choose, as in init_weights={example}")
    lacks = {"ema": "no averaged weights", "plain": "averaged weights alone"}.get(choice, "no weights of this name")
    hint = f"there are {content}: choose {CHOICES}." if any(prefixes) else "leave init_weights out."
    raise UserError(f"{weights.path} has {lacks}; {hint}", ExitCode.CHECKPOINT, "init_weights", choice)


def are_alike(weights: Weights, *networks: dict[str, str]) -> bool:
    """Return whether the tensors that networks have in common are of the same shapes."""
    shapes: Shapes = {}
    return all(
        shapes.setdefault(name, weights.shapes[source]) == weights.shapes[source]
        for network in networks
        for name, source in network.items()
    )


def describe(prefix: str) -> str:
    """Return a prefix as it is named in a message."""
    return prefix.rstrip(".") or "the top of the file"


def describe_choice(chosen: str, prefixes: list[str], averaged: set[str]) -> str:
    """Return the note that says which of several weights were taken, and how to take the others."""
    kind = "averaged" if chosen in averaged else "plain"
    other = next(prefix for prefix in prefixes if prefix != chosen)
    option = "plain" if chosen in averaged else "ema" if other in averaged else describe(other).split(".")[0]
    return (
        f"of {len(prefixes)} sets of weights the {kind} ones in {describe(chosen)} are used; init_weights={option} "
        f"takes those in {describe(other)}"
    )
