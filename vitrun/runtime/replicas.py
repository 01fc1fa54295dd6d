"""Copies of a network on all ranks, by torch's DistributedDataParallel: gradients are summed while backward runs."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch import distributed as torch_distributed
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from vitrun.runtime import distributed


class Replica:
    """This rank's copy of a network; ``backward`` sums its gradients over the ranks, to the same bits on all.

    DistributedDataParallel puts gradients into buckets in the order of the parameters, and after its first backward
    pass into others, in the order in which the gradients were ready. A sum of three ranks or more depends on the place
    in a bucket: :attr:`is_settled` says whether that first pass is done, which no step of training may be.
    """

    def __init__(self, network: nn.Module, device: torch.device):
        self.is_settled = False
        # a convolution may lay out its gradient otherwise than its weight, which costs a copy of that one
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        with distributed.exchange(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # a new name for broadcast_buffers
            self.module = DistributedDataParallel(
                network,
                device_ids=[device] if device.type == "cuda" else None,
                broadcast_buffers=False,  # no layer in training mode has statistics
                gradient_as_bucket_view=True,
            )
        self.module.register_comm_hook(None, sum_bucket)

    def __call__(self, *inputs: Tensor) -> Any:
        """Return the outputs of the network."""
        return self.module(*inputs)

    @contextmanager
    def local(self) -> Iterator[None]:
        """Add gradients inside to those of this rank alone: the next backward pass outside sums them too."""
        with self.module.no_sync():
            yield

    def backward(self, loss: Tensor) -> None:
        """Sum the gradients of all ranks into ``p.grad``; raise UserError if a rank has ended."""
        with distributed.exchange():
            loss.backward()
            distributed.wait_for_device(loss)


def sum_bucket(_: object, bucket: torch_distributed.GradBucket) -> Future[Tensor]:
    """Return the sum of a bucket of gradients over the ranks; torch's own hook returns the mean."""
    work = torch_distributed.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    return cast(Future[Tensor], work.get_future().then(lambda future: future.value()[0]))
