"""Compare the order from which few-shot draws start with the order in which TensorFlow Datasets (TFDS) reads.

    python scripts/check_draw_order.py

Needs ``pip install tensorflow_datasets tensorflow-cpu``, in vitrun's environment or in that of ``--python``. TFDS
builds splits of keys without images in a temporary folder, with the number of shards of each published split, and reads
them as big_vision does (datasets/tfds.py). Prints a row per split; the exit code is 1 if any differs. Takes about three
minutes.
"""

import argparse
import json
import subprocess
import sys
import tempfile

from vitrun.data.draw_pool import TRAINING_SPLITS
from vitrun.data.tfds_order import read_order, tfds_order

KEYS = {  # of each published split, as many as it has images, by their number
    "imagenet2012": "n{:08d}_{}.JPEG",
    "cifar10": None,  # the number itself
    "cifar100": None,
    "oxford_iiit_pet": "Abyssinian_{1}.jpg",
    "oxford_flowers102": "image_{1:05d}.jpg",
}
TFDS = """
import json, os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow_datasets as tfds
keys, shards, first, folder = json.load(sys.stdin)

class Fake(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"row": np.int64}))

    def _split_generators(self, manager):
        return {"train": ((key, {"row": row}) for row, key in enumerate(keys))}

    def _generate_examples(self):
        pass

builder = Fake(data_dir=folder)
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
config = tfds.ReadConfig(skip_prefetch=True, try_autocache=False, add_tfds_id=True)
split = builder.as_dataset(split=f"train[:{first}]", shuffle_files=False, read_config=config)
print(json.dumps([int(example["row"]) for example in split.as_numpy_iterator()]))
"""


def main() -> None:
    """Print a row per split, and exit with 1 if any differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--python", default=sys.executable, help="of an environment with tensorflow_datasets")
    python = parser.parse_args().python
    print("| split | images | shards | read | first rows | same |\n|" + " --- |" * 6)
    splits = sorted(TRAINING_SPLITS, key=lambda split: split.images)
    same = [compare(python, split.name, split.images, split.shards, split.first) for split in splits]
    sys.exit(not all(same))


def compare(python: str, name: str, images: int, shards: int, first: int | None) -> bool:
    """Print the row of one split; return whether both orders are the same."""
    pattern = KEYS[name]
    keys = [row if pattern is None else pattern.format(row % 1000, row) for row in range(images)]
    first = first or images
    with tempfile.TemporaryDirectory() as folder:
        order = json.dumps([keys, shards, first, folder])
        done = subprocess.run([python, "-c", TFDS], input=order, stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = tfds_order([str(key) for key in keys], "train")[read_order(images, shards, first)].tolist()
    same = "yes" if ours == theirs else "NO"
    print(f"| {name} | {images} | {shards} | {first} | {theirs[:3]} | {same} |", flush=True)
    return ours == theirs


if __name__ == "__main__":
    main()
