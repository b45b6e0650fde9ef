"""The HTTP API and the files of the page, as a FastAPI application."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.concurrency import run_in_threadpool

from cleanplate import __version__
from cleanplate.app.guard import Guard
from cleanplate.app.limits import Limits, Turns
from cleanplate.app.plates import Plates
from cleanplate.app.service import Model, Output, Prediction, Service
from cleanplate.errors import UserError, one_line
from cleanplate.pictures import PictureFormatError, PictureTooLargeError

STATIC = Path(__file__).parent / "static"
WARNINGS = "Cleanplate-Warnings"
"""The header of a predict answer that names the kinds of its warnings; a PNG has no other place for them."""


class Health(BaseModel):
    """That the server is up."""

    status: Literal["ok"] = "ok"


class Posted(BaseModel):
    """A plate that is kept for the frames that follow."""

    plate_id: str
    width: int
    height: int
    seconds: float = Field(description="It is kept for so long after its last use; many other plates end that sooner.")


class Fault(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="One line: what is at fault, and the mend.")


_FAULTS = {
    400: "The body is no multipart form.",
    403: "Sent by a page of another site.",
    404: "No plate of that name is kept (any more): post it again.",
    408: "The body did not come in time.",
    413: "The body is too large, or a picture has too many pixels.",
    415: "A picture is neither JPEG nor PNG by its content.",
    421: "The Host header is not this server's.",
    422: "A field is missing, a picture is damaged, or plate and frame do not fit.",
    429: "Too many requests at once; the header Retry-After says how many seconds to wait.",
}


def _faults(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Fault, "description": _FAULTS[code]} for code in codes}


def create_app(service: Service, limits: Limits, hosts: Collection[str] = ()) -> FastAPI:
    """Return the application.

    Args:
        service: what answers.
        limits: what a request may take.
        hosts: names that the server is called by, beside its addresses and `localhost`.
    """
    app = FastAPI(
        title="cleanplate",
        version=__version__,
        summary="Foreground mask and depth from a frame and its clean plate.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # their scripts would come from elsewhere
        redoc_url=None,
    )
    app.add_middleware(Guard, limits=limits, hosts=hosts)
    app.add_exception_handler(RequestValidationError, _tell_first_fault)
    app.add_exception_handler(UserError, _tell_fault)
    turns, plates = Turns(limits), Plates(limits)

    @app.get("/healthz", summary="Whether the server is up", responses=_faults(421))
    async def health() -> Health:
        return Health()

    @app.get("/api/model", summary="What network answers", responses=_faults(421))
    async def model() -> Model:
        return service.model

    @app.post(
        "/api/plates",
        status_code=201,
        summary="Post a plate once, for many frames",
        responses=_faults(400, 403, 408, 413, 415, 421, 422, 429),
    )
    async def post_plate(plate: Annotated[UploadFile, File(description="JPEG or PNG.")]) -> Posted:
        content = await _read(plate, "plate")
        async with turns.turn():
            kept = await run_in_threadpool(service.prepare, content)
        name = plates.keep(kept)
        return Posted(plate_id=name, width=kept.width, height=kept.height, seconds=limits.plate_seconds)

    @app.post(
        "/api/predict",
        summary="Mask and depth of a frame",
        response_model=Prediction,
        responses={
            200: {
                "content": {"image/png": {}},
                "description": "JSON, or the PNG asked for.",
                "headers": {WARNINGS: {"schema": {"type": "string"}, "description": "The kinds of the warnings."}},
            },
            **_faults(*_FAULTS),
        },
    )
    async def predict(
        frame: Annotated[UploadFile, File(description="JPEG or PNG.")],
        plate: Annotated[
            UploadFile | SkipJsonSchema[None], File(description="The same scene with nobody in it, JPEG or PNG.")
        ] = None,
        plate_id: Annotated[
            str | SkipJsonSchema[None], Form(description="In its place: one that was posted before.")
        ] = None,
        output: Annotated[
            Output,
            Query(
                description="json: mask and depth. mask: PNG of 8 bits. depth: PNG of 16 bits. cutout: RGBA PNG. "
                "maps: RGB PNG, red is the mask, green and blue are depth's high and low byte."
            ),
        ] = Output.JSON,
    ) -> Response:
        if (plate is None) == (plate_id is None):
            raise UserError("plate: give either a plate, as a picture, or the plate_id of one that was posted")
        kept = None if plate_id is None else plates.find(plate_id)
        if plate_id is not None and not kept:
            raise HTTPException(404, "plate_id: no such plate is kept (any more); post it again")
        plate_content = await _read(plate, "plate") if plate else b""
        content = await _read(frame, "frame")
        async with turns.turn():
            answer = await run_in_threadpool(
                lambda: service.predict(kept or service.prepare(plate_content), content, output)
            )
        kind = "application/json" if output is Output.JSON else "image/png"
        kinds = ", ".join(warning.kind for warning in answer.warnings)
        return Response(answer.content, media_type=kind, headers={WARNINGS: kinds} if kinds else None)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC))
    return app


async def _read(file: UploadFile, field: str) -> bytes:
    """Return what was uploaded; its name serves for nothing, and one that is more than a name means no good."""
    name = file.filename or ""
    if name in (".", "..") or any(sign in "/\\" or ord(sign) < ord(" ") for sign in name):
        raise UserError(f"{field}: its file name is a path; send the name alone")
    return await file.read()


async def _tell_fault(_: Request, error: Exception) -> JSONResponse:
    code = 415 if isinstance(error, PictureFormatError) else 413 if isinstance(error, PictureTooLargeError) else 422
    return JSONResponse({"detail": str(error)}, code)


async def _tell_first_fault(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    field = fault["loc"][:2][-1]  # after where it was looked for; what follows are pydantic's own words
    return JSONResponse({"detail": one_line(f"{field}: {fault['msg']}")}, 422)
