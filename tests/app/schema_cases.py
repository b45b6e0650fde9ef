"""Requests made up from the API's own OpenAPI, by schemathesis, and what should not have come back.

`benchmarks/api.py` sends them by the thousands, `test_schema.py` by the hundred.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import cv2
import hypothesis
import numpy as np
import schemathesis
from fuzz_inputs import chunk, png
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>'


class Tally(NamedTuple):
    """What came of the requests."""

    statuses: Counter[str]
    """How often each answer came, as "POST /api/predict 200"."""
    failures: list[str]


def noise(height: int, width: int, suffix: str) -> bytes:
    """Return the content of a picture file of noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def wide_png(width: int, height: int) -> bytes:
    """Return some bytes that say they are a picture of that many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png(head, chunk(b"IDAT", zlib.compress(bytes(9999))))


PICTURES = [
    *(noise(24, 32, ".png"), noise(24, 32, ".jpg"), noise(32, 24, ".png"), noise(1, 1, ".png")),
    *(noise(24, 32, ".png")[:-30], noise(24, 32, ".jpg")[:-30], noise(24, 32, ".webp"), SVG, b""),
    *(wide_png(50_000, 50_000), wide_png(2**32 - 1, 1), wide_png(20_000, 4)),
]


def send_cases(url: str, cases: int, seed: int = 0) -> Tally:
    """Send so many requests, which follow from the seed, to a server, and check each answer against the OpenAPI."""
    statuses: Counter[str] = Counter()
    failures: list[str] = []

    def send(case: Case, *not_checked: Callable) -> None:
        answer = case.call()
        statuses[f"{case.method} {case.path} {answer.status_code}"] += 1
        try:
            # that a field is a picture, and that one of two is wanted, is not for a schema to say
            case.validate_response(answer, excluded_checks=[positive_data_acceptance, *not_checked])
        except FailureGroup as group:
            failures.extend(f"{case.as_curl_command()}: {failure}" for failure in group.exceptions)

    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    posts = [operation for operation in operations if operation.method == "post"]
    for operation in operations:
        if operation not in posts:
            send(operation.Case())  # takes nothing, so that there is one request alone
    share = -(-(cases - statuses.total()) // (2 * len(posts)))
    for operation in posts:
        plain = st.tuples(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), _bodies(operation.path))
        faulty = st.tuples(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), st.none())
        for strategy in (plain, faulty):

            @hypothesis.seed(seed)
            @hypothesis.settings(
                max_examples=share,
                phases=[Phase.generate],
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            @hypothesis.given(strategy)
            def feed(drawn: tuple[Case, dict[str, bytes] | None]) -> None:
                case, body = drawn
                if body is None:
                    send(case)
                else:
                    case.body = body
                    send(case, negative_data_rejection)  # it takes what it has not made for faulty

            feed()
    return Tally(statuses, failures)


def _bodies(path: str) -> st.SearchStrategy[dict[str, bytes] | None]:
    """Draw pictures for the fields, or None: those that schemathesis makes up then stay."""
    fields = ["plate"] if path.endswith("plates") else ["plate", "frame"]
    pictures = st.sampled_from(PICTURES[:2]) | st.sampled_from(PICTURES)
    return st.none() | st.fixed_dictionaries(dict.fromkeys(fields, pictures))
