"""The API keeps to its own OpenAPI, whatever is sent."""

from schema_cases import send_cases


def test_answers_to_made_up_requests_are_those_of_the_openapi(served: str) -> None:
    tally = send_cases(served, 100)
    assert tally.failures == []
    assert tally.statuses.total() >= 100
    assert {"POST /api/plates 201", "POST /api/predict 200", "POST /api/predict 415"} <= tally.statuses.keys()
    codes = {name.split()[-1] for name in tally.statuses}
    assert {"413", "415", "422"} <= codes
    assert not [code for code in codes if code >= "500"]
