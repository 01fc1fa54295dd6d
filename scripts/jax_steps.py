"""Run training steps of the published JAX code on given weights and batches, for ``check_jax.py``.

    python scripts/jax_steps.py FOLDER VISION_TRANSFORMER BIG_VISION

FOLDER holds case.json, weights.npz and batches.npz as ``check_jax.py`` writes them; theirs.npz is written there. The
other two are checkouts. Model, loss, optimizer and schedule are theirs; their imports for reading data are mocked.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import MagicMock

import flax
import flax.training.checkpoints
import jax
import numpy as np
import optax
from ml_collections import ConfigDict

FOLDER, *CHECKOUTS = map(Path, sys.argv[1:])
MISSING = ("clu", "flaxformer", "flaxformer.architectures.bert", "tensorflow_datasets", "tensorflow_text")
tensorflow = MagicMock()
tensorflow.io.gfile.GFile = open
sys.modules |= {"tensorflow": tensorflow, "tensorflow.io": tensorflow.io, "tensorflow.io.gfile": tensorflow.io.gfile}
sys.modules |= {name: MagicMock() for name in MISSING}
sys.path += map(str, CHECKOUTS)

from big_vision import optax as big_vision_optax  # noqa: E402
from big_vision import utils as big_vision  # noqa: E402
from big_vision.models import vit as big_vision_vit  # noqa: E402
from vit_jax import checkpoint, models_vit, train  # noqa: E402
from vit_jax import utils as vit_jax  # noqa: E402

MOMENTUM = {"": "float32", "_published": "bfloat16"}  # the type of the fine-tuning code, with 8 bits of precision
HEADS = {"token": "tok", "gap": "gap", "map": "map"}
POSITIONS = {"learned": "learn", "sincos2d": "sincos2d"}


def main() -> None:
    """Write the loss, gradient norm and learning rate of each step, and the effect of rounding on them."""
    case = json.loads((FOLDER / "case.json").read_text())
    batches = dict(np.load(FOLDER / "batches.npz"))
    backwards = {name: array[:, ::-1] for name, array in batches.items()}
    results = curves("", case, batches) | curves("_backwards", case, backwards)
    if case["optim"]["kind"] == "sgd":
        results |= curves("_published", case, batches)
    np.savez(FOLDER / "theirs.npz", **results)


def curves(suffix: str, case: dict, batches: dict) -> dict[str, np.ndarray]:
    """Return ``loss``, ``norm`` and ``lr`` of every step, [S] each, by their names with ``suffix``."""
    steps = finetuning if case["optim"]["kind"] == "sgd" else pretraining
    rows = np.array(list(steps(case, one_hot(case, batches), MOMENTUM.get(suffix, "float32"))), np.float64)
    return {f"{name}{suffix}": column for name, column in zip(("loss", "norm", "lr"), rows.T)}


def one_hot(case: dict, batches: dict) -> list[dict[str, np.ndarray]]:
    """Return the batches in the layout of their pipelines: images [B, R, R, 3], labels [B, C]."""
    eye = np.eye(case["classes"], dtype=np.float32)
    return [{"image": x.transpose(0, 2, 3, 1), "label": eye[y]} for x, y in zip(batches["images"], batches["labels"])]


def pretraining(case: dict, batches: list[dict], _: str) -> Iterator[tuple[float, float, float]]:
    """Yield loss, norm and learning rate of each step of big_vision, with the model of either repository."""
    model, params = MODELS[case["code"]](case, batches[0]["image"])
    config = ConfigDict({"lr": case["optim"]["lr"], "optax_name": "scale_by_adam"})
    config.optax = dict(zip(("b1", "b2"), case["optim"]["betas"]))
    per_lr = case["optim"]["decay_units"] == "paper"  # big_vision does not multiply its rate by the learning rate
    config.wd = case["optim"]["weight_decay"] * (case["optim"]["lr"] if per_lr else 1)
    end = case["schedule_end"] / case["optim"]["lr"]
    config.schedule = {"decay_type": case["schedule"], "warmup_steps": case["warmup"], "linear_end": end}
    config.grad_clip_norm = case["clip"]
    tx, (schedule,) = big_vision_optax.make(config, params, sched_kw={"total_steps": case["steps"]})
    loss_of = getattr(big_vision, f"{case['loss']}_xent")

    @jax.jit
    def update(params: dict, state: tuple, batch: dict) -> tuple:
        def loss(params: dict) -> jax.Array:
            return loss_of(logits=model(params, batch["image"]), labels=batch["label"])

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = tx.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value, optax.global_norm(gradients)

    state = tx.init(params)
    for step, batch in enumerate(batches):
        params, state, loss, norm = update(params, state, batch)
        yield loss, norm, config.lr * schedule(step)


def finetuning(case: dict, batches: list[dict], momentum: str) -> Iterator[tuple[float, float, float]]:
    """Yield loss, norm and learning rate of each step of vision_transformer, with the momentum in the given type."""
    model, params = vision_transformer(case, batches[0]["image"])
    schedule = vit_jax.create_learning_rate_schedule(
        case["steps"], case["optim"]["lr"], case["schedule"], case["warmup"]
    )
    tx = optax.chain(
        record_norm(),
        optax.clip_by_global_norm(case["clip"]),
        optax.sgd(schedule, case["optim"]["momentum"], accumulator_dtype=momentum),
    )

    def apply(variables: dict, inputs: jax.Array, train: bool, rngs: dict) -> jax.Array:
        return model(variables["params"], inputs)

    update = train.make_update_fn(apply_fn=apply, accum_steps=1, tx=tx)
    params, state = flax.jax_utils.replicate((params, tx.init(params)))
    key = flax.jax_utils.replicate(jax.random.PRNGKey(0))
    for step, batch in enumerate(batches):
        batch = {name: array[None] for name, array in batch.items()}  # one device
        params, state, loss, key = update(params, state, batch, key)
        yield loss[0], state[0][0], schedule(step)


def record_norm() -> optax.GradientTransformation:
    """Return a transformation that records the norm of the gradient and does not change it."""
    return optax.GradientTransformation(lambda _: 0.0, lambda updates, *_: (updates, optax.global_norm(updates)))


def vision_transformer(case: dict, images: np.ndarray) -> tuple[Callable, dict]:
    """Return vision_transformer's model as a function of parameters and images, and the parameters that it loads."""
    row = case["model"]
    options = ConfigDict({
        "patches": {"size": (row["patch"], row["patch"])},
        "transformer": {"num_layers": row["depth"], "num_heads": row["heads"], "mlp_dim": row["mlp"],
                        "dropout_rate": row["dropout"], "attention_dropout_rate": 0.0},
        "hidden_size": row["width"],
        "classifier": row["head"],
        "representation_size": row["width"] if row["pre_logits"] else None,
    })  # fmt: skip
    model = models_vit.VisionTransformer(case["classes"], head_bias_init=case["head_bias"], **options)
    initial = model.init(jax.random.PRNGKey(0), images, train=False)["params"]
    loaded = checkpoint.load_pretrained(
        pretrained_path=FOLDER / "weights.npz", init_params=flax.core.unfreeze(initial), model_config=options
    )
    return lambda params, x: model.apply({"params": params}, x, train=True), flax.core.unfreeze(loaded)


def big_vision_model(case: dict, images: np.ndarray) -> tuple[Callable, dict]:
    """Return big_vision's model and parameters in the same form."""
    row = case["model"]
    options = {"patch_size": (row["patch"], row["patch"]), "width": row["width"], "depth": row["depth"],
               "num_heads": row["heads"], "mlp_dim": row["mlp"], "dropout": row["dropout"],
               "pool_type": HEADS[row["head"]], "posemb": POSITIONS[row["positions"]],
               "rep_size": row["pre_logits"]}  # fmt: skip
    model = big_vision_vit.Model(case["classes"], **options)
    initial = model.init(jax.random.PRNGKey(0), images)["params"]
    computed = ["pos_embedding"] if row["positions"] == "sincos2d" else []  # computed by the code, not read
    loaded = big_vision_vit.load(flax.core.unfreeze(initial), str(FOLDER / "weights.npz"), options, computed)
    return lambda params, x: model.apply({"params": params}, x, train=True)[0], loaded


MODELS = {"vision_transformer": vision_transformer, "big_vision": big_vision_model}

if __name__ == "__main__":
    main()
