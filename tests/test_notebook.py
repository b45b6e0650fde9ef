"""The tutorial runs from its first cell to its last, on a small scale."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "tutorial.ipynb"
SMALL = """
PLATES, CUTOUTS = {plates!r}, {cutouts!r}
PLACES, ROOMS = 1, 10
SETTINGS = ["phases=[{{size: 32, epochs: 1, batch_size: 4}}]", "split.items_per_part=8"]
SETTINGS += ["compute.precision=float32", "compute.layout=contiguous"]  # no trial of what is fastest
"""


def run_notebook(folder: Path, plates: Path, cutouts: Path) -> list[dict]:
    """Run the tutorial in a folder, and return its cells."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (parameters,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = SMALL.format(plates=str(plates), cutouts=str(cutouts))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook.cells


@pytest.mark.parametrize("own", [True, False], ids=["own pictures", "no pictures"])
def test_the_tutorial_runs(own: bool, plates: Path, cutouts: Path, tmp_path: Path) -> None:
    cells = run_notebook(tmp_path, plates if own else tmp_path / "none", cutouts)
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    text = "".join(output.get("text", "") for output in outputs)
    assert "no faults" in text
    assert "new_both" in text
    assert (tmp_path / "museum").exists() != own
    assert list((tmp_path / "predictions").glob("*_overview.png"))


def test_the_tutorial_is_kept_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
