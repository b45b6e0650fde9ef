"""The command that serves the page."""

import sys
from typing import Annotated

import typer

from cleanplate.cli.options import GENERAL, Json, Weights, tell


def serve(
    weights: Weights = GENERAL,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 lets the whole network in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    size: Annotated[
        int | None, typer.Option(help="Pixels of the longer side that the network sees.", show_default="its training's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve the page in the browser and its HTTP API, until Ctrl-C.

    Example: cleanplate app --weights runs/first
    """
    from cleanplate.app.serve import serve as serve_page

    def tell_address(address: str) -> None:
        api = f"{address}/api/openapi.json"
        tell(as_json, {"url": address, "api": api}, f"open {address} in a browser   (its API: {api}; Ctrl-C stops it)")
        sys.stdout.flush()  # a program that reads it would wait for it until the end

    serve_page(weights, host=host, port=port, size=size, tell=tell_address)
