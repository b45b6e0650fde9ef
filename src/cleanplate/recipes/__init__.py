"""The shipped recipes, and how a recipe is read.

A recipe that `extends` another, a shipped one or a file in its folder, takes over every key that it does not give
itself; what it gives replaces the other's.
"""

from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cleanplate.errors import UserError
from cleanplate.recipe import Recipe
from cleanplate.safe_yaml import parse_yaml, read_yaml

LONGEST_CHAIN = 20


def list_recipes() -> dict[str, str]:
    """Return the shipped recipes: name and description."""
    return {name: load_recipe(name).description for name in sorted(_shipped())}


def load_recipe(name: Recipe | str | Path, settings: Sequence[str] = ()) -> Recipe:
    """Load a shipped recipe by its name, or a YAML file, and apply `key=value` settings on top.

    Args:
        name: such as `quick`, or the path of a file; a Recipe is returned as it is, and takes no settings.
        settings: such as `["optimizer.lr=0.1", "phases.0.epochs=1"]`; values are YAML.

    Raises:
        UserError: naming the file and the key, or the setting, and what is wrong with it.
    """
    if isinstance(name, Recipe):
        if settings:
            raise UserError("settings go with a recipe's name or file; change a Recipe with model_copy(update=...)")
        return name
    path = _find(name)
    content = _read_extended(path)
    left_out = _KINDS.keys() - content.keys()
    for setting in settings:
        _apply(content, setting)
    content.setdefault("name", path.stem)
    for key in left_out:
        if isinstance(content.get(key), dict):  # `optimizer.lr=0.1` alone is of the kind that the recipe has by default
            field = Recipe.model_fields[key]
            content[key].setdefault(field.discriminator, getattr(field.default, str(field.discriminator)))
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path.name}: {_explain(error)}") from None


def _shipped() -> dict[str, Path]:
    folder = Path(str(files("cleanplate") / "recipes"))
    return {path.stem: path for path in folder.glob("*.yaml")}


def _find(name: str | Path, folder: Path = Path()) -> Path:
    path, shipped = folder / name, _shipped()
    if str(name) in shipped:
        return shipped[str(name)]
    if path.is_file():
        return path
    raise UserError(f"{name}: no such recipe; give a YAML file or one of {', '.join(sorted(shipped))}")


def _read_extended(path: Path, *extending: Path) -> dict[str, Any]:
    """Return the content of a recipe on top of what it extends; `extending` are the files that led here."""
    content = _read_yaml(path)
    name = content.pop("extends", None)
    if name is None:
        return content
    base = _find_base(name, path)
    if base.resolve() in {file.resolve() for file in (path, *extending)}:
        raise UserError(f"{path.name}: extends: {name} leads back to itself; let one of them extend nothing")
    if len(extending) == LONGEST_CHAIN:
        raise UserError(f"{path.name}: extends: more than {LONGEST_CHAIN} recipes in a row; let it extend nothing")
    inherited = _read_extended(base, path, *extending)
    inherited.pop("name", None)
    return inherited | content


def _find_base(name: object, path: Path) -> Path:
    """Return the file that the recipe at `path` extends: a foreign one reads nothing outside its own folder."""
    if isinstance(name, str) and not Path(name).is_absolute() and ".." not in Path(name).parts:
        with suppress(UserError, OSError):
            return _find(name, path.parent)
    raise UserError(f"{path.name}: extends: there is no recipe {name!r}; give a shipped one's name or a file beside it")


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, "no such recipe")
    if not isinstance(content, dict):
        raise UserError(f"{path}: a recipe is a table of keys and values; see `cleanplate train quick --print`")
    return content


def _apply(content: dict[str, Any], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise UserError(f"--set {setting}: expected key=value, such as optimizer.lr=0.1")
    *parents, last = key.split(".")
    place: Any = content
    try:
        for step in parents:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if isinstance(place, list):
            place[int(last)] = parse_yaml(value)
        elif isinstance(place, dict):
            place[last] = parse_yaml(value)
        else:
            raise TypeError
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError):
        raise UserError(f"--set {setting}: there is no such place; `--print` shows the recipe's keys") from None


_KINDS = {
    "optimizer": ("sgd", "adamw"),
    "schedule": ("constant", "plateau", "step", "one-cycle"),
    "split": ("random", "held-out"),
}


def _explain(error: ValidationError) -> str:
    """Say the first fault in a line: the key as the user wrote it, and what is wrong with it."""
    fault = error.errors()[0]
    keys: list[str] = []
    for step in map(str, fault["loc"]):
        # pydantic names the chosen kind of optimiser, schedule or split as if it were a key
        if not keys or step not in _KINDS.get(keys[-1], ()):
            keys.append(step)
    mend = "; `--print` shows the keys there are" if fault["type"] == "extra_forbidden" else ""
    return ": ".join(filter(None, [".".join(keys), fault["msg"].removeprefix("Value error, ")])) + mend
