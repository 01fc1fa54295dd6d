"""Load weights from the Hub, by timm's tags or by repository, and torchvision's."""

from dataclasses import replace
from pathlib import Path

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.models.assemble import LoadedModel, adapt_timm_network, assemble_network, check_finite
from vitrun.models.assemble_clip import assemble_model
from vitrun.models.formats import recognise
from vitrun.models.formats.timm_names import GOOGLE_TAGS
from vitrun.models.tensor_files import read_weights
from vitrun.models.timm_wrapper import TimmNetwork, create_timm_network, pretrained_config, to_linear
from vitrun.recipes import Timm
from vitrun.runtime.hub_cache import verify_cached
from vitrun.runtime.weights_folder import DESCRIPTIONS, list_weights_files

SAFETENSORS = ["model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"]
OPEN_CLIP = ["open_clip_model.safetensors"]  # both towers of a CLIP, if there are any
BINARIES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"]  # if there are no others


def load_tag(name: str, classes: int | None, res: int | None) -> LoadedModel:
    """Return the network of ``timm:NAME.TAG@COMMIT``: vitrun's own for Google's weights, timm's for all others.

    Without a commit the newest is loaded, and the report says which that is.
    """
    tag, _, revision = name.partition("@")
    check_tag(tag)
    config = pretrained_config(tag)
    old_res = config.input_size[-1]
    if GOOGLE_TAGS.fullmatch(tag):
        source = recognise(read_weights(fetch_tag(tag, config.hf_hub_id, revision)))
        loaded = assemble_network(replace(source, res=source.res or old_res, notes=[]), classes, res)
    else:
        loaded = load_timm_network(tag, revision, classes, res)
    return record_commit(loaded, name, config.hf_hub_id, revision)


def load_timm_network(tag: str, revision: str, classes: int | None, res: int | None) -> LoadedModel:
    """Return timm's own network with the weights of a tag."""
    config = pretrained_config(tag)
    pinned = {"pretrained_cfg_overlay": {"hf_hub_id": f"{config.hf_hub_id}@{revision}"}} if revision else {}
    try:
        body = create_timm_network(tag, config.input_size[-1], pretrained=True, **pinned)
        if (file := find_cached(config.hf_hub_id, revision)) is not None:
            verify_cached(file)
    except OSError as error:
        raise fetch_error(f"timm:{tag}", error) from None
    for name, tensor in body.state_dict().items():
        check_finite(f"timm:{tag}", name, tensor)
    head = to_linear(body.get_classifier(), tag)
    body.reset_classifier(0)
    network = TimmNetwork(Timm(kind="timm", name=tag.split(".")[0]), body, head)
    network.set_normalization(config.mean, config.std)
    return adapt_timm_network(network, config.input_size[-1], classes, res, {})


def record_commit(loaded: LoadedModel, name: str, repository: str | None, revision: str) -> LoadedModel:
    """Return the model with the commit of its weights on the Hub, and a note if ``name`` does not pin it."""
    file = find_cached(repository, revision)
    commit = file.parent.name if file else None
    if loaded.report is None or revision:
        return replace(loaded, commit=commit)
    pin = f"init=timm:{name}@{commit} pins it" if commit else "timm does not say which"
    note = f"the newest weights of {repository or name} when they were downloaded, as no commit of them is given: {pin}"
    report = replace(loaded.report, notes=[*loaded.report.notes, note])
    return replace(loaded, commit=commit, report=report)


def find_cached(repository: str | None, revision: str) -> Path | None:
    """Return the weights of a repository in the cache of the Hub's client; None if they are not there."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(repository, "model.safetensors", revision=revision or None) if repository else None
    return Path(file) if isinstance(file, str) else None


def load_repository(name: str, classes: int | None, res: int | None, choice: str) -> LoadedModel:
    """Return the network of ``hf:ORG/NAME@REVISION``, a folder of timm, transformers or open_clip on the Hub."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        for files in (OPEN_CLIP, SAFETENSORS, BINARIES):
            patterns = [*DESCRIPTIONS.values(), *files]
            folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
            for file in filter(Path.is_file, folder.rglob("*")):
                verify_cached(file)
            if list_weights_files(folder) is not None:
                break
    except UserError:
        raise
    except Exception as error:
        raise fetch_error(f"hf:{name}", error) from None
    return assemble_model(recognise(read_weights(folder), choice), classes, res)


def find_default_tag(name: str) -> str:
    """Return ``NAME.TAG`` of the weights that timm takes for a name without a tag, or for one of its older names."""
    import timm
    from timm.models._registry import get_deprecated_models

    name = get_deprecated_models().get(name) or name
    config = timm.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    tag = f"{name}.{config.tag}" if config and config.tag and "." not in name else name
    check_tag(tag)
    return tag


def check_tag(tag: str) -> None:
    """Raise a UserError that lists timm's tags if ``tag`` is none of them."""
    import timm

    tag = tag.partition("@")[0]
    name = tag.split(".")[0]
    tags = (timm.list_pretrained(f"{name}.*") or timm.list_pretrained(name)) if name else []
    if tag not in tags:
        if tags:
            hint = f"There are {', '.join(tags)}."
        elif name:
            hint = f"timm has no weights for {name}. {suggest(name, timm.list_models(pretrained=False))}"
        else:
            hint = "Write init=timm:MODEL.TAG"
        raise UserError(f"timm:{tag} names no weights. {hint}", ExitCode.CHECKPOINT)


def fetch_tag(tag: str, repository: str, revision: str) -> str:
    """Return the path of the weights on this machine; download them if they are not cached."""
    from huggingface_hub import hf_hub_download

    try:
        return str(verify_cached(hf_hub_download(repository, "model.safetensors", revision=revision or None)))
    except Exception as error:  # the Hub's client, its cache and the network each raise classes of their own
        raise fetch_error(f"timm:{tag}", error) from None


def fetch_error(init: str, error: Exception) -> UserError:
    """Return a UserError for weights that could not be fetched from the Hub."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{init} could not be fetched: {reason} Fetch its model.safetensors by other means, and give init=FILE.",
        ExitCode.CHECKPOINT,
    )
