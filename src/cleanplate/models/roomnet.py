"""RoomNet: PlateNet for cameras that stay where they are."""

import torch.nn.functional as F
from torch import Tensor, nn

from cleanplate.models.blocks import Prediction
from cleanplate.models.platenet import PlateNet, resampled

GLANCE = 16
"""Pixels a side at which a room is recognised by its plate."""
CODE = 128
"""Numbers that tell rooms apart."""
MAP = 160
"""Pixels a side of a depth map that is known by heart."""


class RoomNet(PlateNet):
    """Mask and depth from plate and frame, as `PlateNet`; it also learns by heart how deep its rooms are.

    What lies behind people is the same in every frame of a camera that stays. Two fully connected layers make a whole
    depth map of the plate, at a glance, as the coarse network of Eigen, Puhrsch and Fergus, "Depth map prediction from
    a single image using a multi-scale deep network", 2014; the rest adds what differs from it. In rooms that it was not
    trained in that map is worth nothing: `PlateNet` is the network for them. 11,224,180 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Sequential(nn.Linear(3 * GLANCE**2, CODE), nn.LayerNorm(CODE), nn.ReLU())
        self.room = nn.Linear(CODE, MAP**2)
        nn.init.zeros_(self.room.weight)  # nothing is known at first
        nn.init.zeros_(self.room.bias)

    def encode_plate(self, plate: Tensor) -> list[Tensor]:
        """Return the depth logits known by heart, `(B, 1, H, W)`, and then as `PlateNet`."""
        return [self._recall(plate), *super().encode_plate(plate)]

    def answer(self, plate_features: list[Tensor], frame: Tensor) -> Prediction:
        """Return the logits of frames, from the features of their plates."""
        known, *features = plate_features
        return self.draw(features, frame, known)

    def _recall(self, plate: Tensor) -> Tensor:
        height, width = plate.shape[-2:]
        gap = abs(height - width)  # no `max`: that would become a constant of a traced graph
        right, below = (gap + height - width) // 2, (gap + width - height) // 2
        square = F.pad(plate, (0, right, 0, below), mode="replicate")  # as in training, whatever the picture's shape
        glance = resampled(square, (GLANCE, GLANCE)).flatten(1).to(self.room.weight.dtype)
        known = self.room(self.code(glance)).unflatten(1, (1, MAP, MAP))
        return resampled(known, square.shape[-2:])[..., :height, :width]
