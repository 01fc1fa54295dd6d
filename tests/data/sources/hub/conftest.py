"""A small Hub, two clients of it, and data sets to put there."""

import numpy as np
import pytest
from PIL import Image

from helpers.hub_client import TEST, TRAIN, Client
from helpers.small_hub import serve


@pytest.fixture(scope="session")
def hub():
    with serve() as hub:
        yield hub


@pytest.fixture(scope="session")
def client(hub, tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("online"), hub.endpoint)
    yield client
    client.end()


@pytest.fixture(scope="session", autouse=True)  # from the first test on, so that it starts while others wait
def offline(client, hub):
    """A client with the same cache and no network."""
    offline = Client(client.home, hub.endpoint, HF_HUB_OFFLINE="1")
    yield offline
    offline.end()


@pytest.fixture(scope="session")
def parquet(tmp_path_factory):
    """Makes a parquet file of small images with these labels, and ``padding`` bytes beside them."""
    import datasets

    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "owl"])}
    place = tmp_path_factory.mktemp("parquet") / "file"

    def parquet(labels: list[int], padding: int = 0) -> bytes:
        generator = np.random.default_rng(len(labels))
        images = [Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in labels]
        rows = {"image": images, "label": labels, "extra": [generator.bytes(padding)] * len(labels)}
        table = datasets.Dataset.from_dict(rows, datasets.Features(features | {"extra": datasets.Value("binary")}))
        table.to_parquet(place)
        return place.read_bytes()

    return parquet


@pytest.fixture(scope="session")
def put(hub, parquet):
    """Puts a data set of two splits onto the Hub."""
    small = {TEST: parquet([0, 1, 2]), TRAIN[0]: parquet([0, 0]), TRAIN[1]: parquet([1, 2, 1]), "README.md": b"# cats"}

    def put(name: str, files: dict[str, bytes] = small) -> str:
        hub.files[f"vit/{name}"] = files
        hub.order("bytes")
        return name

    return put
