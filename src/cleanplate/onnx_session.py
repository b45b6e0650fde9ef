"""Open a network in ONNX form, whoever it comes from, with onnxruntime on the CPU."""

from pathlib import Path
from typing import TYPE_CHECKING

from cleanplate.cores import count_cores
from cleanplate.errors import UserError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

SILENT = 4
ELSEWHERE = (b"\x08location", b"\0location")
"""The key of what lies in another file, after its length, which ends in one of the two however it is written."""


def open_session(content: bytes, path: Path | str, mend: str) -> "InferenceSession":
    """Return a session of a network that is in one piece.

    Args:
        content: of the file.
        path: what faults are told of.
        mend: what to do about a file that cannot be used, such as "download it again".

    Raises:
        UserError: onnxruntime is not installed or does not take the content, or parts of it lie in other files, or in
            this process's memory.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{path}: needs onnxruntime; pip install onnxruntime") from None
    if any(key in content for key in ELSEWHERE):
        raise UserError(f"{path}: keeps parts of itself in other files, which are not read; {mend}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_cores()
    # Faults come as UserError, in one line, and not in a log as well, be it the session's or that of all of them.
    options.log_severity_level = SILENT
    onnxruntime.set_default_logger_severity(SILENT)
    options.add_session_config_entry("session.load_model_format", "ONNX")  # its other format names files too
    try:  # without falling back, which is to the same provider and prints to standard output
        return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # onnxruntime's own have nothing else in common
        raise UserError(f"{path}: not a readable ONNX file ({error}); {mend}") from None
