"""DMLab: frames of an agent's view, in TFRecord files of ``tf.Example`` messages with image, filename and label."""

from pathlib import Path

import numpy as np

from vitrun.data.sources.vtab.originals import tfrecord
from vitrun.data.sources.vtab.originals.original import Original
from vitrun.data.sources.vtab.originals.published import Published

PUBLISHED = Published(
    "dmlab",
    "dmlab-{train,validation,test}.tfrecord-* of dmlab.tar.gz",
    "https://storage.googleapis.com/dmlab-vtab/dmlab.tar.gz",
    archives=("dmlab",),
)
# {close, far, very far} x {positive, negative reward}; the authors do not say which is which number.
CLASSES = tuple(f"class {number}" for number in range(6))


def read(root: Path, split: str) -> Original:
    """The frames of a split, keyed by the field ``filename``; the image's bytes stay where they are until asked for."""
    keys, labels, places = [], [], []
    paths = PUBLISHED.find_all(root, f"*{split}*.tfrecord*")
    for path in paths:
        with PUBLISHED.reading(path), open(path, "rb") as file:
            for start, record in tfrecord.records(file):
                example = tfrecord.example(record)
                place = example["image"]
                keys.append(bytes(record[example["filename"]]).decode())
                labels.append(example["label"])
                places.append((path, start + place.start, place.stop - place.start))

    def image(index: int) -> bytes:
        path, start, length = places[index]
        with PUBLISHED.reading(path), open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    return Original(
        keys=keys,
        labels={"label": np.array(labels, dtype=np.int64)},
        classes={"label": CLASSES},
        image=image,
        where=f"{paths[0].parent}: {len(paths)} files *{split}*.tfrecord*",
        sizes=np.array([length for _, _, length in places], dtype=np.int64),
    )
