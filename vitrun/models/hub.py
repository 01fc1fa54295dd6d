"""Load weights from the Hub: by timm's tags, or by repository."""

from dataclasses import replace

from vitrun.errors import ExitCode, UserError, suggest
from vitrun.models.assemble import LoadedModel, adapt_timm_network, assemble_network
from vitrun.models.formats import recognise
from vitrun.models.formats.timm_names import GOOGLE_TAGS
from vitrun.models.tensor_files import read_weights
from vitrun.models.timm_wrapper import TimmNetwork, create_timm_network, pretrained_config, to_linear
from vitrun.recipes import Timm

REPOSITORY_FILES = ["config.json", "preprocessor_config.json", "model.safetensors"]  # the files that are read


def load_tag(tag: str, classes: int | None, res: int | None) -> LoadedModel:
    """Return the network of ``timm:NAME.TAG``: vitrun's own network for Google's weights, timm's for all others."""
    check_tag(tag)
    config = pretrained_config(tag)
    old_res = config.input_size[-1]
    if GOOGLE_TAGS.fullmatch(tag):
        source = recognise(read_weights(fetch_tag(tag, config.hf_hub_id)))
        return assemble_network(replace(source, res=source.res or old_res, notes=[]), classes, res)
    try:
        body = create_timm_network(tag, old_res, pretrained=True)
    except OSError as error:
        raise fetch_error(f"timm:{tag}", error) from None
    head = to_linear(body.get_classifier(), tag)
    body.reset_classifier(0)
    network = TimmNetwork(Timm(kind="timm", name=tag.split(".")[0]), body, head)
    network.set_normalization(config.mean, config.std)
    return adapt_timm_network(network, old_res, classes, res, {})


def load_repository(name: str, classes: int | None, res: int | None) -> LoadedModel:
    """Return the network of ``hf:ORG/NAME@REVISION``, a folder of timm or transformers on the Hub."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=REPOSITORY_FILES)
    except Exception as error:
        raise fetch_error(f"hf:{name}", error) from None
    return assemble_network(recognise(read_weights(folder)), classes, res)


def check_tag(tag: str) -> None:
    """Raise a UserError that lists timm's tags if ``tag`` is none of them; without a tag timm would choose one."""
    import timm

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


def fetch_tag(tag: str, repository: str) -> str:
    """Return the path of the weights on this machine; download them if they are not cached."""
    from huggingface_hub import hf_hub_download

    try:
        return hf_hub_download(repository, "model.safetensors")
    except Exception as error:  # the Hub's client, its cache and the network each raise classes of their own
        raise fetch_error(f"timm:{tag}", error) from None


def fetch_error(init: str, error: Exception) -> UserError:
    """Return a UserError for weights that could not be fetched from the Hub."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{init} could not be fetched: {reason} Fetch its model.safetensors by other means, and give init=FILE.",
        ExitCode.CHECKPOINT,
    )
