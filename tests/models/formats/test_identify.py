"""The row of the table is identified by the weights."""

import numpy as np

from helpers.networks import MODEL_ROWS, build_randomized
from vitrun import models
from vitrun.models.export.portable import export_tensors
from vitrun.models.formats import jax_bit, jax_vit


def test_rows_of_the_table_are_identified_by_their_tensors(tmp_path):
    for name in ("vit_ti4", "r_vit_ti16", "bit_r50x1"):
        network = build_randomized(MODEL_ROWS[name], res=32)
        models.save_model(tmp_path / "w.safetensors", network, MODEL_ROWS[name], 5, 32)
        assert models.load(tmp_path / "w.safetensors").model == MODEL_ROWS[name]
        layout = jax_bit if name.startswith("bit") else jax_vit
        tensors = export_tensors(layout.map_tensors(MODEL_ROWS[name]), network.state_dict())
        np.savez(tmp_path / "w.npz", **{key: tensor.detach().numpy() for key, tensor in tensors.items()})
        assert models.load(tmp_path / "w.npz").model.name == name
