"""The labels of VTAB's tasks equal the published ones, compared with values from other implementations."""

import numpy as np
import pytest

from vitrun.data.sources.vtab.keys import published_part_keys
from vitrun.data.sources.vtab.originals import vtab_labels
from vitrun.data.split import Split


def test_the_bins_of_dsprites_equal_those_of_the_published_thousand():
    rows = np.array([int(key) for part in ("train800", "val200") for key in published_part_keys("dsprites")[part]])
    assert np.bincount(vtab_labels.dsprites_orientation(rows)).tolist() == [
        74, 56, 75, 58, 68, 55, 73, 51, 79, 48, 75, 50, 67, 40, 78, 53
    ]  # fmt: skip
    assert np.bincount(vtab_labels.dsprites_x_position(rows)).tolist() == [
        68, 53, 57, 54, 60, 62, 62, 63, 69, 65, 63, 68, 66, 60, 69, 61
    ]  # fmt: skip


def test_a_dsprites_row_counts_y_fastest_then_x_orientation_scale_and_shape():
    rows = [0, 1, 32, 32 * 32, 32 * 32 * 40, 32 * 32 * 40 * 6, 737279]
    expected = [
        (0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 0), (0, 0, 1, 0, 0), (0, 1, 0, 0, 0), (1, 0, 0, 0, 0),
        (2, 5, 39, 31, 31),
    ]  # fmt: skip
    assert list(zip(*(factor.tolist() for factor in vtab_labels.dsprites_factors(rows)))) == expected
    turned = vtab_labels.dsprites_orientation(np.arange(40) * 1024)
    assert turned.tolist() == [int(n / 2.5) for n in range(40)] and turned[-1] == 15
    assert vtab_labels.dsprites_x_position(np.arange(32) * 32).tolist() == [n // 2 for n in range(32)]


def test_eurosat_has_the_classes_of_the_published_thousand():
    classes = [key.split("_")[0] for part in ("train800", "val200") for key in published_part_keys("eurosat")[part]]
    assert {name: classes.count(name) for name in set(classes)} == {
        "HerbaceousVegetation": 119, "Residential": 118, "Forest": 116, "AnnualCrop": 107, "SeaLake": 105,
        "Highway": 96, "Industrial": 95, "River": 94, "PermanentCrop": 92, "Pasture": 58,
    }  # fmt: skip


def float32_neighbours(edge: float) -> list[float]:
    """Return the float32 numbers just below, at and just above an edge."""
    return [float(np.nextafter(np.float32(edge), np.float32(side))) for side in (-np.inf, edge, np.inf)]


@pytest.mark.parametrize("edge, below", [(8.0, 0), (8.5, 1), (9.0, 2), (9.5, 3), (10.0, 4)])
def test_a_clevr_distance_belongs_to_the_class_of_the_largest_edge_strictly_below_it(edge, below):
    assert vtab_labels.clevr_distance([[99, depth, 50] for depth in float32_neighbours(edge)]).tolist() == [
        below,
        below,
        below + 1,
    ]
    assert vtab_labels.clevr_distance([[edge + 1e-9]]).tolist() == [below], "compared in float32"


def test_clevr_distances_beyond_the_edges_have_classes_and_counts_start_at_three():
    assert vtab_labels.clevr_distance([[0.1], [99.0]]).tolist() == [0, 5]
    assert (
        vtab_labels.clevr_count(np.arange(3, 11)).tolist()
        == list(range(8))
        == list(range(len(vtab_labels.CLEVR_COUNTS)))
    )
    assert len(vtab_labels.CLEVR_DISTANCES) == 6


@pytest.mark.parametrize("edge, below", [(8.0, 0), (20.0, 1)])
def test_a_kitti_distance_belongs_to_the_class_of_the_largest_edge_strictly_below_it(edge, below):
    assert vtab_labels.kitti_distance([[500, depth] for depth in float32_neighbours(edge)]).tolist() == [
        below,
        below,
        below + 1,
    ]


def test_a_kitti_image_without_a_vehicle_is_a_class_of_its_own():
    assert vtab_labels.kitti_distance([[], [998.0], [-3.0, 50.0]]).tolist() == [3, 2, 0]
    assert len(vtab_labels.KITTI_DISTANCES) == 4 and vtab_labels.KITTI_VEHICLES == ("Car", "Van", "Truck")


def test_the_other_labels_equal_those_of_vtab():
    info = np.array([[4, 0, 0, 1], [9, 8, 34, 5], [6, 3, 14, 0]], dtype=np.int32)
    assert vtab_labels.smallnorb_elevation(info).tolist() == [0, 8, 3]
    assert vtab_labels.smallnorb_azimuth(info).tolist() == [0, 17, 7]
    assert vtab_labels.svhn_digit(np.array([[10], [1], [9]], dtype=np.uint8)).tolist() == [0, 1, 9]
    assert vtab_labels.zero_based(np.array([[1, 102]], dtype=np.uint8)).tolist() == [0, 101]
    assert len(vtab_labels.ELEVATIONS) == 9 and len(vtab_labels.AZIMUTHS) == 18 and len(vtab_labels.DSPRITES_BINS) == 16


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_an_original_may_contain_pixels_and_grey_ones_fill_three_channels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    image = Split(["k"], np.zeros(1, np.int64), ("a",), read_encoded=lambda index: pixels).decode(0)
    expected = pixels if len(shape) == 3 else np.stack([pixels] * 3, 2)
    assert image.shape == (3, 4, 6) and (image == expected.transpose(2, 0, 1)).all()
