"""The HTTP API: what it answers, and what it refuses with which code."""

import struct
import threading
import zlib
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from fuzz_inputs import chunk, png
from scenes import draw_room, draw_wall
from schema_cases import SVG, noise, wide_png

from cleanplate import Predictor
from cleanplate.app.limits import Limits
from cleanplate.app.plates import KeptPlate, Plates
from cleanplate.app.server import STATIC, create_app
from cleanplate.app.service import Service
from cleanplate.pictures import decode_rgb, encode

MakeClient = Callable[[Limits], TestClient]

PLATE = draw_wall(1, (60, 80))
FRAME = PLATE.copy()
FRAME[20:50, 30:50] = 220
PAIR = {"plate": encode(PLATE), "frame": encode(FRAME)}


def send(client: TestClient, path: str, files: dict[str, Any] = PAIR, **more: Any) -> Any:
    return client.post(path, files=files, **more)


def refusal(answer: Any) -> tuple[int, str]:
    """Return code and words of an answer that refuses, in one line."""
    assert answer.headers["content-type"] == "application/json"
    detail = answer.json()["detail"]
    assert answer.json() == {"detail": detail}
    assert detail.isprintable()
    return answer.status_code, detail


def pixels(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


# Answers


def test_answers_are_those_of_the_predictor(client: TestClient, predictor: Predictor) -> None:
    mask, depth = predictor.with_plate(PLATE)(FRAME)
    assert depth is not None
    mask, depth = (mask * 255).round().astype(np.uint8), (depth * 65535).round().astype(np.uint16)
    answer = send(client, "/api/predict").json()
    assert (answer["width"], answer["height"]) == (80, 60)
    assert np.array_equal(pixels(b64decode(answer["mask"])), mask)
    assert np.array_equal(pixels(b64decode(answer["depth"])), depth)
    assert answer["metres"] == {"near": 1, "far": 5}
    assert answer["warnings"] == []

    def picture(output: str) -> np.ndarray:
        answer = send(client, f"/api/predict?output={output}")
        assert answer.headers["content-type"] == "image/png"
        return pixels(answer.content)

    assert np.array_equal(picture("mask"), mask)
    assert np.array_equal(picture("depth"), depth)
    cutout = picture("cutout")
    assert np.array_equal(cutout[..., :3], FRAME[..., ::-1])
    assert np.array_equal(cutout[..., 3], mask)
    blue, green, red = np.moveaxis(picture("maps").astype(np.uint16), 2, 0)
    assert np.array_equal(red, mask)
    assert np.array_equal(green * 256 + blue, depth)


def test_plate_posted_once_serves_many_frames(client: TestClient) -> None:
    posted = client.post("/api/plates", files={"plate": PAIR["plate"]})
    assert posted.status_code == 201
    plate_id = posted.json()["plate_id"]
    assert (posted.json()["width"], posted.json()["height"]) == (80, 60)
    for frame in (PAIR["frame"], PAIR["plate"]):
        kept = client.post("/api/predict?output=mask", files={"frame": frame}, data={"plate_id": plate_id})
        assert kept.content == send(client, "/api/predict?output=mask", {**PAIR, "frame": frame}).content


def test_plate_that_does_not_suit_the_frame_is_warned_of(client: TestClient) -> None:
    frame = encode(draw_room(1, (60, 80)))
    matching = {"plate": frame, "frame": frame}
    assert "Cleanplate-Warnings" not in send(client, "/api/predict?output=mask", matching).headers
    pair = {"plate": encode(draw_room(2, (120, 160))), "frame": frame}
    answer = send(client, "/api/predict", pair)
    size, match = answer.json()["warnings"]
    assert size == {"kind": "size", "text": "the plate is 160x120 and the frame 80x60; the plate is resized to it"}
    assert match["kind"] == "match"
    assert "% of the plate's blocks are found again" in match["text"]
    for output in ("json", "mask", "depth", "cutout", "maps"):
        assert send(client, f"/api/predict?output={output}", pair).headers["Cleanplate-Warnings"] == "size, match"


def test_jpeg_and_png_are_read_by_their_content_whatever_they_are_called(client: TestClient) -> None:
    jpeg = encode(FRAME, ".jpg")
    called = {"plate": ("plate.txt", PAIR["plate"], "text/plain"), "frame": ("frame.png", jpeg, "image/png")}
    answer = send(client, "/api/predict?output=cutout", called)
    assert answer.status_code == 200
    assert np.array_equal(pixels(answer.content)[..., 2::-1], decode_rgb(jpeg, "frame"))


def test_model_and_health(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    model = client.get("/api/model").json()
    assert (model["weights"], model["size"]) == ("tiny", 64)
    assert (model["depth"], model["metres"]) == ("metric", {"near": 1, "far": 5})


def test_network_without_depth_says_so(predictor: Predictor) -> None:
    class MaskAlone:
        """The network, its depth left out."""

        size, metres, keep_plates = 64, None, predictor.backend.keep_plates

        def __call__(self, kept_plates: Any, frames: np.ndarray) -> tuple[np.ndarray, None]:
            return predictor.backend(kept_plates, frames)[0], None

    app = create_app(Service(Predictor(MaskAlone()), "masks", Limits()), Limits())
    client = TestClient(app, base_url="http://localhost")
    assert client.get("/api/model").json()["depth"] is None
    assert send(client, "/api/predict").json()["depth"] is None
    assert not pixels(send(client, "/api/predict?output=maps").content)[..., :2].any()
    code, words = refusal(send(client, "/api/predict?output=depth"))
    assert (code, words) == (422, "output: this network has no depth; ask for mask or cutout")


# Faulty pictures


def text_bomb() -> bytes:
    """A PNG of nine pixels with 200 megabytes of text, packed into 200 kilobytes."""
    head = struct.pack(">IIBBBBB", 3, 3, 8, 0, 0, 0, 0)
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 * 2**20), 1))
    return png(head, text, chunk(b"IDAT", zlib.compress(bytes(12))))


def scan_bomb() -> bytes:
    content = cv2.imencode(".jpg", PLATE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * 1000 + content[-2:]


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (SVG, 415, "not a readable picture"),
        (b"", 415, "not a readable picture"),
        (b"GIF89a" + bytes(99), 415, "not a readable picture"),
        (noise(9, 9, ".webp"), 415, "not a readable picture"),
        (PAIR["frame"][:-20], 422, "ends early"),
        (encode(FRAME, ".jpg")[:-20], 422, "ends early"),
        (PAIR["frame"][:41] + bytes(60) + PAIR["frame"][101:], 422, "not a readable picture"),
        (wide_png(50_000, 50_000), 413, "is 50000x50000, and at most 25,000,000 pixels"),
        (wide_png(2**32 - 1, 2**32 - 1), 413, "at most 25,000,000 pixels"),
        (noise(1, 16_385, ".png"), 413, "is 16385x1, and at most 16,384 a side"),
        (scan_bomb(), 413, "scans"),
        (noise(80, 60, ".png"), 422, "plate and frame are 80x60 and 60x80: not of one shape"),
    ],
    ids=[
        "SVG",
        "empty",
        "GIF",
        "WebP",
        "png-cut",
        "jpeg-cut",
        "png-damaged",
        "wide",
        "widest",
        "long",
        "scans",
        "upright",
    ],
)
def test_faulty_frame_is_refused_with_its_code(content: bytes, code: int, words: str, client: TestClient) -> None:
    answer = refusal(send(client, "/api/predict", {**PAIR, "frame": ("frame.png", content, "image/png")}))
    assert answer[0] == code
    assert words in answer[1]
    if "shape" not in words:
        assert answer[1].startswith("frame: ")
        plate = refusal(client.post("/api/plates", files={"plate": content}))
        assert plate == (code, answer[1].replace("frame", "plate", 1))


def test_a_picture_that_unfolds_beside_its_pixels_does_no_harm(client: TestClient) -> None:
    assert client.post("/api/plates", files={"plate": text_bomb()}).status_code in (201, 422)


@pytest.mark.parametrize("shape", [(1, 1), (1, 16_384), (16_384, 1), (5, 3)])
def test_small_and_narrow_pictures_are_answered(shape: tuple[int, int], client: TestClient) -> None:
    picture = noise(*shape, ".png")
    answer = send(client, "/api/predict", {"plate": picture, "frame": picture})
    assert (answer.status_code, answer.json()["height"], answer.json()["width"]) == (200, *shape)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "a\\b.png"])
def test_file_name_that_is_a_path_is_refused(name: str, client: TestClient) -> None:
    answer = send(client, "/api/predict", {**PAIR, "frame": (name, PAIR["frame"], "image/png")})
    assert refusal(answer) == (422, "frame: its file name is a path; send the name alone")


@pytest.mark.parametrize("name", ["Bild 1\u202fPM.png", "\U0001f468\u200d\U0001f469.png", "ohne Endung"])
def test_file_name_of_any_signs_serves(name: str, client: TestClient) -> None:
    assert send(client, "/api/predict", {**PAIR, "frame": (name, PAIR["frame"], "image/png")}).status_code == 200


# Faulty requests


def test_missing_and_doubled_fields_are_named(client: TestClient) -> None:
    assert refusal(send(client, "/api/predict", {"plate": PAIR["plate"]})) == (422, "frame: Field required")
    neither = send(client, "/api/predict", {"frame": PAIR["frame"]})
    both = send(client, "/api/predict", PAIR, data={"plate_id": "x"})
    for answer in (neither, both):
        assert refusal(answer) == (
            422,
            "plate: give either a plate, as a picture, or the plate_id of one that was posted",
        )
    assert "'json', 'mask'" in refusal(send(client, "/api/predict?output=exe"))[1]
    named = client.post("/api/predict", data={"plate": "plate.jpg"}, files={"frame": PAIR["frame"]})
    assert refusal(named)[1].startswith("plate: ")
    assert client.post("/api/predict", json={"frame": "x"}).status_code == 422
    broken = client.post("/api/predict", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=y"})
    assert broken.status_code in (400, 422)


@pytest.mark.parametrize("plate_id", ["unknown", "../../plates", ""])
def test_unknown_plate_is_not_found(plate_id: str, client: TestClient) -> None:
    answer = client.post("/api/predict", files={"frame": PAIR["frame"]}, data={"plate_id": plate_id})
    if plate_id:
        assert refusal(answer) == (404, "plate_id: no such plate is kept (any more); post it again")
    else:
        assert answer.status_code in (404, 422)


@pytest.mark.parametrize(
    "path",
    ["/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd", "/api/../../etc/passwd", "/docs"],
)
def test_nothing_but_the_pages_own_files_is_served(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 404


def test_body_that_is_too_large_is_refused_whether_it_says_so_or_not(make_client: MakeClient) -> None:
    client = make_client(Limits(max_bytes=10_000))
    large = {"plate": bytes(20_000)}
    assert refusal(client.post("/api/plates", files=large))[0] == 413
    body = client.build_request("POST", "/api/plates", files=large)
    content = body.read()
    pieces = (content[start : start + 1000] for start in range(0, len(content), 1000))
    streamed = client.post("/api/plates", content=pieces, headers={"Content-Type": body.headers["Content-Type"]})
    assert refusal(streamed) == (413, "takes more than 10,000 bytes; send smaller pictures")


# Many requests


def test_more_requests_than_fit_are_sent_away_and_may_come_again(predictor: Predictor) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    class Slow:
        """The network, once it may."""

        size, metres, keep_plates = 64, None, predictor.backend.keep_plates
        waits = False

        def __call__(self, kept_plates: Any, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
            if self.waits:
                entered.release()
                assert leave.wait(30)
            return predictor.backend(kept_plates, frames)

    backend, limits = Slow(), Limits(requests=2, at_once=1, wait_seconds=0.01)
    app = create_app(Service(Predictor(backend), "slow", limits), limits)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        backend.waits = True
        codes: list[int] = []
        first = threading.Thread(target=lambda: codes.append(send(client, "/api/predict").status_code))
        first.start()
        assert entered.acquire(timeout=30)
        waited = send(client, "/api/predict")
        assert refusal(waited) == (429, "too many requests at once; try again in a second")
        assert waited.headers["Retry-After"] == "1"
        assert client.get("/healthz").status_code == 200
        leave.set()
        first.join()
        assert codes == [200]
        assert send(client, "/api/predict").status_code == 200


def test_no_more_bodies_are_taken_than_fit_in_the_house(make_client: MakeClient) -> None:
    assert refusal(send(make_client(Limits(requests=0)), "/api/predict"))[0] == 429


def test_plates_make_room_and_go_when_unused() -> None:
    now = 0.0
    plates = Plates(Limits(plates=2, plate_pixels=1000, plate_seconds=60), clock=lambda: now)
    small, large = (KeptPlate(width, 10, lambda frame: None, lambda frame: []) for width in (10, 95))
    first, second = plates.keep(small), plates.keep(small)
    assert first != second
    assert plates.find(first)  # now the second has waited longer
    third = plates.keep(small)
    assert (plates.find(first), plates.find(second), plates.find(third)) == (small, None, small)
    big = plates.keep(large)  # leaves room for no other
    assert (plates.find(third), plates.find(big)) == (None, large)
    now = 59.0
    assert plates.find(big)
    now = 118.0
    assert plates.find(big)
    now = 179.0
    assert plates.find(big) is None


# Who may ask


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9000", "[::1]:8000", "192.168.1.7:8000"])
def test_the_servers_own_names_are_answered(host: str, client: TestClient) -> None:
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "["])
def test_a_name_that_was_made_to_lead_here_is_refused(host: str, client: TestClient) -> None:
    for path in ("/", "/api/model", "/healthz"):
        assert refusal(client.get(path, headers={"Host": host}))[0] == 421


def test_the_name_that_was_given_is_answered(predictor: Predictor) -> None:
    app = create_app(Service(predictor, "tiny", Limits()), Limits(), hosts=["Studio.example"])
    assert TestClient(app, base_url="http://studio.example:8000").get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_pages_of_other_sites_may_not_post(headers: dict[str, str], client: TestClient) -> None:
    assert refusal(send(client, "/api/predict", headers=headers)) == (403, "sent by a page of another site")


def test_the_page_itself_may_post(client: TestClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert send(client, "/api/predict", headers=headers).status_code == 200


def test_every_answer_has_the_headers_that_keep_it_to_itself(client: TestClient) -> None:
    refused = client.get("/", headers={"Host": "evil.example"})
    for answer in (client.get("/"), client.get("/static/app.js"), client.get("/nowhere"), refused):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=(self)" in answer.headers["permissions-policy"]
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert client.get("/api/model").headers["cache-control"] == "no-store"


def test_page_names_nothing_outside_this_machine() -> None:
    for path in STATIC.glob("*.*"):
        text = path.read_text().replace("http://www.w3.org/2000/svg", "").replace("http://127.0.0.1", "")
        assert "http:" not in text, path
        assert "https:" not in text, path
        assert "style=" not in text, path  # the policy would refuse it
