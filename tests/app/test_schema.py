"""The API keeps to its own OpenAPI, whatever is sent."""

from schema_cases import send_cases


def test_answers_to_made_up_requests_are_those_of_the_openapi(served: str) -> None:
    tally = send_cases(served, 100)
    assert tally.failures == []
    assert tally.statuses.total() >= 100
    codes = {name.split()[-1] for name in tally.statuses}
    assert {"200", "201", "413", "415", "422"} <= codes
    assert not [code for code in codes if code >= "500"]
