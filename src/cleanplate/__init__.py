"""cleanplate: foreground mask and depth from a frame and its clean plate."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Predictor",
    "Recipe",
    "UserError",
    "clean_plate",
    "compare",
    "evaluate",
    "evaluate_footage",
    "export",
    "lr_range",
    "predict",
    "resume",
    "train",
]

if TYPE_CHECKING:
    from cleanplate.compare.report import compare
    from cleanplate.errors import UserError
    from cleanplate.evaluate import evaluate
    from cleanplate.footage import evaluate_footage
    from cleanplate.predict.export import export
    from cleanplate.predict.pictures import predict
    from cleanplate.predict.plate import clean_plate
    from cleanplate.predict.predictor import Predictor
    from cleanplate.recipe import Recipe
    from cleanplate.train.fit import resume, train
    from cleanplate.train.lr_range import lr_range

_HOMES = {
    "Predictor": "predict.predictor",
    "Recipe": "recipe",
    "UserError": "errors",
    "clean_plate": "predict.plate",
    "compare": "compare.report",
    "evaluate": "evaluate",
    "evaluate_footage": "footage",
    "export": "predict.export",
    "lr_range": "train.lr_range",
    "predict": "predict.pictures",
    "resume": "train.fit",
    "train": "train.fit",
}


class _Package(ModuleType):
    """Keeps `cleanplate.train` the function when Python, on importing the folder of that name, would put it there."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: torch alone takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'cleanplate' has no attribute {name!r}")
    return getattr(import_module(f"cleanplate.{_HOMES[name]}"), name)
