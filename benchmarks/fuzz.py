"""Feed every reader of foreign files with thousands of damaged and made-up ones: `python benchmarks/fuzz.py`.

A reader may answer or refuse in one line. All else is a finding: another exception, a hang, a crash, memory without
bound, a file opened outside the folder. Findings are printed and their inputs kept; the exit code is then 1.
"""

import argparse
import faulthandler
import hashlib
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fuzz_readers import make_readers
from fuzzing import SECONDS, Finding, Tally, fuzz

from cleanplate.train.run import describe_environment

COLUMNS = ("reader", "inputs", "answered", "refused", "findings", "seconds")


def main() -> int:
    """Fuzz, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0, help="the inputs follow from it")
    parser.add_argument("--readers", nargs="*", help="these alone")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for the inputs of findings")
    parser.add_argument("--json", type=Path, help="file to write the result into")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as made:
        names = options.readers or list(make_readers(Path(made)))
    share = -(-options.inputs // len(names))
    rows, findings = [], []
    print(_line(COLUMNS))
    for name in names:
        tally = _fuzz_apart(name, share, options.seed)
        rows.append(dict(zip(COLUMNS, (*tally[:4], len(tally.findings), round(tally.seconds, 1)), strict=True)))
        print(_line(rows[-1].values()), flush=True)
        for finding in tally.findings:
            path = options.keep / f"{name}-{hashlib.sha256(finding.content).hexdigest()[:12]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(finding.content)
            findings.append({"reader": name, "fault": finding.fault, "input": str(path)})
            print(f"  {finding.fault[:300]}\n  kept: {path}", flush=True)
    if options.json:
        result = {"seed": options.seed, "environment": describe_environment(), "rows": rows, "findings": findings}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if findings else 0


def _fuzz_apart(name: str, inputs: int, seed: int) -> Tally:
    """Fuzz a reader in a process of its own, whose end is a finding like any other."""
    with tempfile.TemporaryDirectory() as made, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(_fuzz, name, inputs, seed, Path(made)).result()
        except BrokenProcessPool:
            file = Path(made) / "folder" / make_readers(Path(made))[name].file
            finding = Finding(name, "the process died, or hung where nothing could stop it", file.read_bytes())
            return Tally(name, 1, 0, 0, 0, [finding])


def _fuzz(name: str, inputs: int, seed: int, folder: Path) -> Tally:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the codecs' own log
    reader = make_readers(folder)[name]

    def read(path: Path) -> None:
        faulthandler.dump_traceback_later(3 * SECONDS, exit=True)
        reader.read(path)

    try:
        return fuzz(reader._replace(read=read), inputs, folder / "folder", seed)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _line(cells: object) -> str:
    return "".join(f"{cell!s:>10}" for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
