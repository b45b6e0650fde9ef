"""The application in this process, and as the command serves it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from app_process import Served
from fastapi.testclient import TestClient

from cleanplate import Predictor
from cleanplate.app.limits import Limits
from cleanplate.app.server import create_app
from cleanplate.app.service import Service


@pytest.fixture(scope="session")
def predictor(run: Path) -> Predictor:
    return Predictor.load(run)


@pytest.fixture
def make_client(predictor: Predictor) -> Iterator[Callable[[Limits], TestClient]]:
    """Make clients of applications that take no more than some limits."""
    clients: list[TestClient] = []

    def make(limits: Limits) -> TestClient:
        app = create_app(Service(predictor, "tiny", limits), limits)
        clients.append(TestClient(app, base_url="http://127.0.0.1:8000").__enter__())
        return clients[-1]

    yield make
    for client in clients:
        client.__exit__()


@pytest.fixture
def client(make_client: Callable[[Limits], TestClient]) -> TestClient:
    return make_client(Limits())


@pytest.fixture(scope="session")
def served(run: Path) -> Iterator[str]:
    """The address of a page served for all tests, at the end of which nothing may have gone wrong in it."""
    app = Served("--weights", run, "--port", "0", "--json")
    yield app.url
    code, err = app.stop()
    assert code == 130
    assert err.endswith("cleanplate: stopped\n")
    assert "Traceback" not in err
