"""DetrForObjectDetection of transformers with a ResNet of timm, in a folder."""

from vitrun.models.formats.detector_config import (
    BOX_HEAD,
    check_kind,
    check_sizes,
    config_res,
    count_classes,
    describe_assumed,
    rename_detector,
)
from vitrun.models.formats.hugging_face_config import class_names, config_normalization
from vitrun.models.formats.mapping import IdentifiedWeights, TensorMapping, map_layers, map_same
from vitrun.models.tensor_files import JsonObject, Weights
from vitrun.recipes import Detector, Timm
from vitrun.recipes.detector_rows import name_detector

BACKBONE = "model.backbone.conv_encoder.model."
QUERIES = "model.query_position_embeddings.weight"
RENAMES = (  # names in memory, since transformers 5 -> names in files
    (r"^model\.backbone\.model\.", BACKBONE),
    (rf"^{BACKBONE}_backbone\.", BACKBONE),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.mlp\.fc(\d)\.", r".fc\1."),
)
FIXED = {  # keys of the config, each with the only value that vitrun computes
    "activation_function": "relu",
    "position_embedding_type": "sine",
    "encoder_layerdrop": 0.0,
    "decoder_layerdrop": 0.0,
    "scale_embedding": False,
}
MODEL_TYPE = "detr"


def recognise(weights: Weights) -> IdentifiedWeights | None:
    """Return the DETR in a folder; None if its names are not of this layout."""
    config = weights.metadata.get("config", {})
    renamed = rename_detector(weights, RENAMES, QUERIES)
    if renamed is None:
        return None
    check_kind(config, MODEL_TYPE, "DetrForObjectDetection")
    model = infer_model(renamed, config)
    classes = count_classes(renamed, "class_labels_classifier.weight")
    preprocessor = renamed.metadata.get("preprocessor", {})
    ignored = [name for name in renamed if is_ignored(name)]
    return IdentifiedWeights(
        renamed,
        model,
        config_res(preprocessor, 800, 1),
        classes,
        [*map_detector(model), *map_backbone(renamed)],
        {"classifier and counters of the ResNet": ignored} if ignored else {},
        describe_assumed(preprocessor),
        config_normalization(preprocessor) or ([0.5] * 3, [0.5] * 3),
        class_names(config, classes),
    )


def infer_model(weights: Weights, config: JsonObject) -> Detector:
    """Return the model. Raise a ValueError if vitrun cannot compute what the config says."""
    shapes = weights.shapes
    for key, value in FIXED.items():
        if config.get(key, value) != value:
            raise ValueError(f"config.json has {key}={config[key]}; vitrun computes {key}={value}")
    tokens, width = shapes[QUERIES]
    layers = {part: count_layers(weights, part) for part in ("encoder", "decoder")}
    mlp = shapes["model.decoder.layers.0.fc1.weight"][0]
    sizes = {
        "d_model": width,
        "num_queries": tokens,
        "encoder_layers": layers["encoder"],
        "decoder_layers": layers["decoder"],
        "encoder_ffn_dim": mlp,
        "decoder_ffn_dim": mlp,
        "num_channels": 3,
    }
    check_sizes(config, sizes)
    heads = config.get("encoder_attention_heads", 8)
    if config.get("decoder_attention_heads", 8) != heads:
        raise ValueError("config.json has encoder_attention_heads that differ from decoder_attention_heads")
    return name_detector(read_backbone(config), tokens, False, (), width=width, heads=heads, mlp=mlp, **layers)


def read_backbone(config: JsonObject) -> Timm:
    """Return the row of the body. Raise a ValueError unless it is a ResNet of timm."""
    nested = config.get("backbone_config") or {}
    name = nested.get("backbone") or config.get("backbone") or "resnet50"
    if nested.get("model_type", "timm_backbone") != "timm_backbone" or config.get("use_timm_backbone") is False:
        kind = nested.get("model_type", "another")
        raise ValueError(f"its backbone is {kind} of transformers; vitrun reads ResNets of timm, as resnet50")
    stride = nested.get("output_stride") or (config.get("backbone_kwargs") or {}).get("output_stride")
    if config.get("dilation") or stride == 16:
        return Timm(kind="timm", name=name, options={"output_stride": 16})
    if stride not in (None, 32):
        raise ValueError(f"its backbone has output_stride={stride}; vitrun has 16 and 32")
    return Timm(kind="timm", name=name, options={})


def count_layers(weights: Weights, part: str) -> int:
    """Return the number of layers of the encoder or decoder."""
    return len({name.split(".")[3] for name in weights if name.startswith(f"model.{part}.layers.")})


def map_detector(model: Detector) -> list[TensorMapping]:
    """Return the mapping of each tensor after the backbone."""
    mappings = [map_same("transformer.queries", QUERIES)]
    pairs = [("transformer.proj", "model.input_projection"), ("transformer.norm", "model.decoder.layernorm")]
    pairs += [("head", "class_labels_classifier"), *BOX_HEAD]
    for part, number in (("encoder", model.encoder), ("decoder", model.decoder)):
        for layer in range(number):
            ours, theirs = f"transformer.{part}.{layer}", f"model.{part}.layers.{layer}"
            pairs += [(f"{ours}.{mine}", f"{theirs}.{other}") for mine, other in list_parts(part == "decoder")]
    return mappings + map_layers(pairs)


def list_parts(decodes: bool) -> list[tuple[str, str]]:
    """Return the names of the parts of a layer in vitrun and in transformers."""
    attentions = [("attn", "self_attn"), ("cross_attn", "encoder_attn")][: 1 + decodes]
    norms = [("norm1", "self_attn_layer_norm"), ("norm2", "final_layer_norm")]
    norms += [("norm_cross", "encoder_attn_layer_norm")] * decodes
    products = [("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("proj", "out_proj")]
    parts = [(f"{ours}.{mine}", f"{theirs}.{other}") for ours, theirs in attentions for mine, other in products]
    return [*parts, *norms, ("fc1", "fc1"), ("fc2", "fc2")]


def map_backbone(weights: Weights) -> list[TensorMapping]:
    """Return the mapping of each tensor of a ResNet, which has timm's names."""
    names = [name for name in weights if name.startswith(BACKBONE) and not is_ignored(name)]
    return [map_same(f"body.body.{name.removeprefix(BACKBONE)}", name) for name in names]


def is_ignored(name: str) -> bool:
    """Return whether a tensor of the ResNet is not part of a detector: of its classifier, or a counter of batches."""
    return name.endswith(".num_batches_tracked") or name.startswith(f"{BACKBONE}fc.")
