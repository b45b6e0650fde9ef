"""The networks: plate and frame in, mask and depth logits out."""

from cleanplate.errors import UserError
from cleanplate.models.blocks import Network, Prediction
from cleanplate.models.dsresnet import DSResNet
from cleanplate.models.masknet import MaskNet
from cleanplate.models.platenet import PlateNet
from cleanplate.models.roomnet import RoomNet

__all__ = ["MODELS", "Network", "Prediction", "create_model"]

MODELS: dict[str, type[Network]] = {
    "dsresnet": DSResNet,
    "masknet": MaskNet,
    "platenet": PlateNet,
    "roomnet": RoomNet,
}


def create_model(name: str) -> Network:
    """Return a new network, `model(plate, frame) -> Prediction`, with random weights.

    Raises:
        UserError: there is no network of that name; lists those there are.
    """
    if name not in MODELS:
        raise UserError(f"model: {name!r} is not known; choose one of {', '.join(MODELS)}")
    return MODELS[name]()
