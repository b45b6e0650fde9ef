"""The page, in a browser: what a person does, and what they then see and hear."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright
from scenes import draw_room, draw_wall
from schema_cases import SVG

from cleanplate import Predictor
from cleanplate.pictures import encode, read_rgb
from cleanplate.sheet import colour_depth

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
PHONE = {"width": 360, "height": 740}

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; on Debian: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, served: str) -> Iterator[Page]:
    """The page, which may ask nothing of any other server, and may not stumble."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security" in line.text else None)
    page.goto(served)
    expect(page.locator("#model")).to_contain_text("Network: tiny")
    yield page
    context.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((f"{served}/", f"blob:{served}/"))] == []


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """A plate and a frame of 120x90 with something bright before the wall."""
    plate = draw_wall(1, (90, 120))
    frame = plate.copy()
    frame[30:75, 45:75] = 220
    for name, picture in (("plate", plate), ("frame", frame)):
        (tmp_path / f"{name}.png").write_bytes(encode(picture))
    return tmp_path / "plate.png", tmp_path / "frame.png"


def give(page: Page, plate: Path, frame: Path) -> None:
    page.get_by_label("Clean plate").set_input_files(plate)
    expect(page.get_by_role("status")).to_contain_text("Now the frame")
    page.get_by_label(re.compile("^Frame")).set_input_files(frame)
    expect(page.get_by_role("status")).to_contain_text("Done in")


def saved(page: Page, button: str, folder: Path) -> np.ndarray:
    """Press a button that saves, and return the picture, BGR where it has colours."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def expect_accessible(page: Page) -> None:
    violations = Axe().run(page).response["violations"]
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


def test_uploaded_pictures_are_answered_and_saved(
    page: Page, pictures: tuple[Path, Path], predictor: Predictor, tmp_path: Path
) -> None:
    give(page, *pictures)
    frame = read_rgb(pictures[1])
    mask, depth = predictor.with_plate(read_rgb(pictures[0]))(frame)
    assert depth is not None
    mask = (mask * 255).round()
    assert np.abs(saved(page, "Mask", tmp_path)[..., 0] - mask).max() <= 1
    assert np.abs(saved(page, "Depth, 16 bit", tmp_path) - (depth * 65535).round()).max() <= 1  # another process
    colours = saved(page, "Depth in colour", tmp_path)[..., 2::-1].astype(int)
    assert np.abs(colours - colour_depth(depth)).max() <= 8
    cutout = saved(page, "Picture above", tmp_path)
    assert np.abs(cutout[..., 3] - mask).max() <= 1
    seen = mask > 250
    assert np.abs(cutout[seen][:, 2::-1].astype(int) - frame[seen]).max() <= 2


def test_background_and_edge_change_what_is_saved(page: Page, pictures: tuple[Path, Path], tmp_path: Path) -> None:
    give(page, *pictures)
    soft = saved(page, "Mask", tmp_path)[..., 0]
    page.get_by_label("Softer").fill("0")
    hard = saved(page, "Mask", tmp_path)[..., 0]
    assert np.mean((hard > 0) & (hard < 255)) < np.mean((soft > 0) & (soft < 255))
    page.get_by_label("Tighter").fill("95")
    assert saved(page, "Mask", tmp_path)[..., 0].sum() < hard.sum()
    page.get_by_role("button", name="As the network says").click()
    assert np.array_equal(saved(page, "Mask", tmp_path)[..., 0], soft)

    corner = np.argwhere(soft == soft.min())[0]
    page.get_by_label("Colour", exact=True).check()
    page.get_by_label("Its colour").fill("#102030")
    coloured = saved(page, "Picture above", tmp_path)
    assert np.abs(coloured[tuple(corner)][:3].astype(int) - (0x30, 0x20, 0x10)).max() <= soft.min() + 1
    page.get_by_label("Picture", exact=True).check()
    page.get_by_label("Its picture").set_input_files(pictures[1])
    on_picture = saved(page, "Picture above", tmp_path)
    assert np.abs(on_picture[..., 2::-1].astype(int) - read_rgb(pictures[1])).max() <= 2


def test_a_picture_can_be_dropped(page: Page, pictures: tuple[Path, Path]) -> None:
    drop = """async ([id, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"}));
        document.getElementById(id).dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
    }"""
    for name, path in zip(("plate", "frame"), pictures, strict=True):
        page.evaluate(drop, [f"{name}-tile", list(path.read_bytes())])
    expect(page.get_by_role("status")).to_contain_text("Done in")


def test_depth_is_told_under_the_pointer_and_under_the_keys(page: Page, pictures: tuple[Path, Path]) -> None:
    give(page, *pictures)
    expect(page.locator("#near")).to_have_text("1 m")
    value = page.locator("#depth-value")
    page.locator("#depth").hover(position={"x": 5, "y": 5})
    expect(value).to_have_text(re.compile(r"^[1-5]\.\d\d m$"))
    corner = value.inner_text()
    page.locator("#depth").focus()
    for _ in range(12):
        page.keyboard.press("Shift+ArrowDown")
    for _ in range(5):
        page.keyboard.press("Shift+ArrowRight")
    expect(value).not_to_have_text(corner)
    expect(value).to_have_text(re.compile(r"^[1-5]\.\d\d m$"))


def test_examples_answer_at_one_click_and_by_keyboard(page: Page) -> None:
    status, held = page.get_by_role("status"), list[Route]()
    page.route("**/api/predict*", lambda route: held.append(route))  # else it is answered before "Looking" is seen
    for name in ("Parlour", "Gallery", "Hall"):
        page.get_by_role("button", name=name).focus()
        with page.expect_request("**/api/predict*"):
            page.keyboard.press("Enter")
        expect(status).to_contain_text("Looking")
        held.pop().continue_()
        expect(status).to_contain_text("Done in")
    assert page.locator("#cutout").evaluate("canvas => [canvas.width, canvas.height]") == [448, 448]


def test_camera_takes_the_plate_and_then_shows_frame_after_frame(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Use the camera").click()
    take = page.get_by_role("button", name="Take the plate")
    expect(take).to_be_focused()
    page.get_by_label("Countdown").select_option("0")
    take.click()
    expect(page.locator("#rate")).to_have_text(re.compile(r"^\d+\.\d frames/s$"))
    before = saved(page, "Picture above", tmp_path)
    page.wait_for_function(
        "old => document.querySelector('#rate').textContent !== old", arg=page.locator("#rate").inner_text()
    )
    assert not np.array_equal(before, saved(page, "Picture above", tmp_path))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("Paused.")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#rate")).to_have_text(re.compile("frames/s"))
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.get_by_role("button", name="Use the camera")).to_be_focused()
    expect(page.locator("#rate")).to_have_text("")


def test_countdown_leaves_time_to_leave_the_picture(browser: Browser, served: str) -> None:
    page = browser.new_page()
    page.clock.install()
    page.goto(served)
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the plate").click()
    for left in (5, 4, 3, 2, 1):
        expect(page.get_by_role("status")).to_have_text(f"The plate is taken in {left}.")
        page.clock.run_for(1000)
    expect(page.get_by_role("status")).to_have_text("The plate is taken. Walk in.")
    page.close()


def test_camera_is_asked_for_once_however_often_it_is_clicked(page: Page) -> None:
    page.evaluate(
        """() => {
            const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
            window.asked = 0;
            devices.getUserMedia = async (wanted) => {
                window.asked++;
                await new Promise((resolve) => setTimeout(resolve, 300));
                return ask(wanted);
            };
        }"""
    )
    page.get_by_role("button", name="Use the camera").dblclick()
    expect(page.get_by_role("status")).to_have_text("The camera is on.")
    assert page.evaluate("window.asked") == 1


def test_depth_is_saved_of_what_is_shown_though_another_plate_was_given(
    page: Page, pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    give(page, *pictures)
    before = saved(page, "Depth, 16 bit", tmp_path)
    (tmp_path / "tall.png").write_bytes(encode(draw_wall(2, (120, 90))))
    page.get_by_label("Clean plate").set_input_files(tmp_path / "tall.png")
    expect(page.get_by_role("alert")).to_contain_text("not of one shape")
    assert np.array_equal(saved(page, "Depth, 16 bit", tmp_path), before)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotAllowedError", "The camera is blocked for this page."),
        ("NotFoundError", "No camera was found."),
        ("NotReadableError", "The camera is in use by another program."),
    ],
)
def test_camera_that_does_not_start_is_explained(name: str, words: str, page: Page) -> None:
    refuse = f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{name}') }}; null"
    page.evaluate(refuse)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_role("button", name="Use the camera")).to_be_visible()


@pytest.mark.parametrize("content", [b"this is text", SVG, b""], ids=["text", "SVG", "empty"])
def test_file_that_is_no_picture_is_named_in_plain_words(content: bytes, page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(content)
    page.get_by_label("Clean plate").set_input_files(tmp_path / "notes.png")
    expect(page.get_by_role("alert")).to_have_text("notes.png cannot be read as a picture. Choose a JPEG or PNG.")


def test_what_the_server_refuses_is_said_and_the_next_try_clears_it(page: Page, pictures: tuple[Path, Path]) -> None:
    give(page, *pictures)
    upright = pictures[0].with_name("upright.png")
    upright.write_bytes(encode(draw_wall(1, (120, 90))))
    page.get_by_label(re.compile("^Frame")).set_input_files(upright)
    expect(page.get_by_role("alert")).to_contain_text("not of one shape; take both with the same camera")
    page.get_by_label(re.compile("^Frame")).set_input_files(pictures[1])
    expect(page.get_by_role("status")).to_contain_text("Done in")
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_busy_server_is_asked_again_and_a_forgotten_plate_is_sent_again(
    page: Page, pictures: tuple[Path, Path]
) -> None:
    give(page, *pictures)
    answers = [
        {"status": 429, "headers": {"Retry-After": "0.01"}, "json": {"detail": "too many requests"}},
        {"status": 404, "json": {"detail": "plate_id: no such plate"}},
    ]
    posted: list[str] = []

    def refuse(route: Route) -> None:
        if answers:
            route.fulfill(**answers.pop(0))
        else:
            route.continue_()

    page.route("**/api/predict*", refuse)
    page.on("request", lambda request: posted.append(request.url) if "plates" in request.url else None)
    with page.expect_response(lambda answer: "/api/predict" in answer.url and answer.ok):
        page.get_by_label(re.compile("^Frame")).set_input_files(pictures[1])
    expect(page.get_by_role("status")).to_contain_text("Done in")
    assert answers == []
    assert len(posted) == 1


def test_a_server_that_is_gone_is_told(page: Page, pictures: tuple[Path, Path]) -> None:
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_label("Clean plate").set_input_files(pictures[0])
    page.get_by_label(re.compile("^Frame")).set_input_files(pictures[1])
    expect(page.get_by_role("alert")).to_have_text("The app does not answer. Is it still running in its terminal?")


def test_plate_that_hardly_matches_is_told_until_it_does(page: Page, pictures: tuple[Path, Path]) -> None:
    other = pictures[0].with_name("other.png")
    for path, picture in zip((*pictures, other), [(1, (90, 120)), (1, (90, 120)), (2, (180, 240))], strict=True):
        path.write_bytes(encode(draw_room(*picture)))
    give(page, *pictures)
    warning = page.locator("#warning")
    expect(warning).to_be_empty()
    page.get_by_label("Clean plate").set_input_files(other)
    expect(warning).to_contain_text("The plate hardly matches the frame: the camera has moved")
    expect(warning).to_contain_text("Plate and frame are not of one size")
    expect(page.get_by_role("status")).to_contain_text("Done in")
    expect_accessible(page)
    page.get_by_label("Clean plate").set_input_files(pictures[0])
    expect(warning).to_be_empty()
    expect(page.get_by_role("status")).to_contain_text("Done in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_has_everything_in_its_width_and_nothing_in_the_way_of_a_screen_reader(scheme: str, page: Page) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(PHONE)
    expect_accessible(page)
    page.get_by_role("button", name="Hall").click()
    expect(page.get_by_role("status")).to_contain_text("Done in")
    expect(page.locator("#cutout")).to_be_in_viewport()
    expect_accessible(page)
    page.get_by_role("button", name="Use the camera").click()
    expect(page.get_by_role("status")).to_have_text("The camera is on.")
    page.get_by_label("Picture", exact=True).check()
    page.get_by_label("Clean plate").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    expect(page.get_by_role("alert")).to_contain_text("a.txt cannot be read")
    expect_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == (
        "rgb(246, 245, 241)" if scheme == "light" else "rgb(20, 24, 23)"
    )
