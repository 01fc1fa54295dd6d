"""A small Hub, two clients of it, and data sets for it."""

import numpy as np
import pytest
from PIL import Image

from helpers.hub_client import TEST_FILE, TRAIN_FILES, Client
from helpers.small_hub import serve_small_hub


@pytest.fixture(scope="session")
def hub():
    with serve_small_hub() as hub:
        yield hub


@pytest.fixture(scope="session")
def client(hub, tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("online"), hub.endpoint)
    yield client
    client.kill()


@pytest.fixture(scope="session", autouse=True)  # from the first test on, so that it starts while others wait
def offline_client(client, hub):
    """Return a client with the same cache and no network."""
    offline_client = Client(client.home, hub.endpoint, HF_HUB_OFFLINE="1")
    yield offline_client
    offline_client.kill()


@pytest.fixture(scope="session")
def make_parquet(tmp_path_factory):
    """Return a function that makes parquet files of small images with the given labels and ``padding`` extra bytes."""
    import datasets

    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "owl"])}
    place = tmp_path_factory.mktemp("parquet") / "file"

    def make_parquet(labels: list[int], padding: int = 0) -> bytes:
        generator = np.random.default_rng(len(labels))
        images = [Image.fromarray(generator.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for _ in labels]
        rows = {"image": images, "label": labels, "extra": [generator.bytes(padding)] * len(labels)}
        table = datasets.Dataset.from_dict(rows, datasets.Features(features | {"extra": datasets.Value("binary")}))
        table.to_parquet(place)
        return place.read_bytes()

    return make_parquet


@pytest.fixture(scope="session")
def publish(hub, make_parquet):
    """Return a function that publishes a data set of two splits on the Hub."""
    small = {
        TEST_FILE: make_parquet([0, 1, 2]),
        TRAIN_FILES[0]: make_parquet([0, 0]),
        TRAIN_FILES[1]: make_parquet([1, 2, 1]),
        "README.md": b"# cats",
    }

    def publish(name: str, files: dict[str, bytes] = small) -> str:
        hub.files[f"vit/{name}"] = files
        hub.set_faults("bytes")
        return name

    return publish
