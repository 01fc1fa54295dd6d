"""State of training at step 0: the network on its device, its optimizer, its EMA and its micro-batch."""

from torch import nn

from vitrun import models
from vitrun.engine import optim
from vitrun.engine.freezing import set_training_mode
from vitrun.engine.sharing import share_network
from vitrun.engine.state import TrainState
from vitrun.errors import UserError
from vitrun.recipes import Training
from vitrun.runtime import distributed
from vitrun.runtime.device import Machine, choose_micro_batch

RESNET_TOKENS = 197  # assumed for a network without tokens: the positions of a ResNet's middle stage at 224 pixels


def build_state(recipe: Training, loaded: models.LoadedModel, machine: Machine) -> TrainState:
    """Return the state at step 0, with the network on the device of ``machine``."""
    network, ranks = loaded.network, distributed.world_size()
    if ranks == 1 or recipe.mode == "ddp":  # else it is moved block by block, as it is divided
        network.to(machine.device)
    if recipe.checkpointing == "blocks":
        models.checkpoint_blocks(network)
    set_training_mode(network)
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if ranks > 1 and any(norm.training for norm in norms):
        if machine.device.type != "cuda" or recipe.mode == "fsdp":
            why = "has batch norm, whose statistics only ranks on GPUs with mode=ddp can share: use one rank."
            raise UserError(f"{loaded.model.name} {why}")
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # in place
    micro_batch = recipe.micro_batch
    if micro_batch == "auto":
        tokens, width, workers = count_tokens(loaded), network.head.in_features, machine.workers_for(network)
        micro_batch = choose_micro_batch(recipe.step_images // ranks, tokens, width, machine.device, workers)
    parallel = share_network(recipe, network, machine)
    optimizer = optim.build_optimizer(recipe.optim, network, recipe.body_lr)
    ema = [p.detach().clone() for p in network.parameters()] if recipe.ema is not None else None
    return TrainState(network, optimizer, ema, 0, micro_batch, parallel=parallel)


def count_tokens(loaded: models.LoadedModel) -> int:
    """Return the tokens of an image, by which the micro-batch is chosen."""
    return models.count_tokens(loaded.model, loaded.res) or RESNET_TOKENS
