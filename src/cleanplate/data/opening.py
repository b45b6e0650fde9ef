"""Open what `--data`, `--plates` and `--cutouts` name."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cleanplate.data.live import LiveComposition
from cleanplate.data.mixed import Mixed
from cleanplate.data.modest import ModestFolder
from cleanplate.data.pack import PackedFolder
from cleanplate.data.source import DataSet
from cleanplate.errors import UserError
from cleanplate.recipe import Recipe


def open_data(path: Path | str, *, packed: bool = True) -> DataSet:
    """Open a data set folder.

    Args:
        path: the folder.
        packed: read batches from its packs, where it has them.

    Raises:
        UserError: as `PackedFolder` does; or it is a zip, which is to be packed first.
    """
    if Path(path).suffix == ".zip" and Path(path).is_file():
        raise UserError(f"{path}: is a zip; `cleanplate data pack {path} OUT` makes of it a folder to train on")
    return PackedFolder(path) if packed else ModestFolder(path)


class Given(NamedTuple):
    """What there is to train on: a data set folder, plates to compose on, or both."""

    data: str | None
    plates: str | None = None
    cutouts: str | None = None
    """The museum's figures when None."""

    @classmethod
    def of(cls, data: Path | str | None, plates: Path | str | None, cutouts: Path | str | None) -> "Given":
        """Take what a user has given.

        Raises:
            UserError: it is nothing, or does not go together.
        """
        if cutouts is not None and plates is None:
            raise UserError("--cutouts go with --plates: they are composed on them")
        if data is None and plates is None:
            raise UserError(
                "--data is missing: give a data set folder (`cleanplate data museum OUT` makes one), or --plates"
            )
        return cls.named(data, plates, cutouts)

    @classmethod
    def named(cls, *paths: Path | str | None) -> "Given":
        """Take data, plates and cutouts as they are, for what a run was begun with."""
        return cls(*(None if path is None else str(path) for path in paths))

    def record(self) -> dict[str, str | None]:
        """Return it as environment.json keeps it: where it lies, whatever the current folder is."""
        return {name: None if path is None else str(Path(path).resolve()) for name, path in self._asdict().items()}

    @classmethod
    def recorded(cls, environment: Mapping[str, Any]) -> "Given":
        """Return what a run was begun with, by its environment.json."""
        return cls(environment["data"], environment.get("plates"), environment.get("cutouts"))

    def moved(self, now: "Given") -> "Given":
        """Return the same where it lies now; what `now` does not name lies where it lay.

        Raises:
            UserError: `now` names what this does not have.
        """
        for option, before, after in zip(self._fields, self, now, strict=True):
            if after is not None and before is None:
                raise UserError(f"--{option} {after}: the run was begun with {self}; leave it out")
        return Given(*(after or before for before, after in zip(self, now, strict=True)))

    def open(self, recipe: Recipe, *, packed: bool = True) -> DataSet:
        """Open it, for trainings as a recipe says.

        Raises:
            UserError: as `open_data` and `LiveComposition` do.
        """
        if self.plates is None:
            return open_data(self.data or "", packed=packed)
        compose = partial(LiveComposition, self.plates, self.cutouts, keep=2 * max(one.size for one in recipe.phases))
        if self.data is None:
            return compose(recipe.composition)
        folder = open_data(self.data, packed=packed)
        return Mixed([folder, compose(recipe.composition.beside(len(folder)))])

    def __str__(self) -> str:
        """Return what it is, in a few words."""
        composed = self.plates and f"{self.plates} with {self.cutouts or 'museum figures'}"
        return " and ".join(one for one in (self.data, composed) if one)
