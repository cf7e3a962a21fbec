# SPDX-License-Identifier: Apache-2.0
"""One JSON shape for every way of failing."""

from __future__ import annotations

import pytest

from zuul.web import errors

JOBS = "/api/tenant/example/jobs"


def all_errors(of=errors.RestError):
    return [of, *(error for child in of.__subclasses__() for error in all_errors(child))]


def an(error):
    more = {errors.MethodNotAllowed: ("PUT",), errors.RangeNotSatisfiable: 42}
    return error("words", more[error]) if error in more else error("words")


every_error = pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.__name__)
not_of_this_route = pytest.mark.undeclared("some of these errors never come from this route")


@every_error
@not_of_this_route
def test_each_error_has_its_status_title_and_words(failing_app, refusal, error):
    response = failing_app(an(error)).get(JOBS, status="*")

    body = refusal(response, error.status)
    assert response.status == f"{error.status} {error.title}"
    assert body == {
        "faultcode": "Server" if error.status >= 500 else "Client",
        "faultstring": "words",
        "debuginfo": None,
        **an(error).fields,
    }
    for name, value in an(error).headers:
        assert response.headers[name] == value


@every_error
@not_of_this_route
def test_head_has_the_fields_and_no_body(failing_app, error):
    app = failing_app(an(error))
    get, head = app.get(JOBS, status="*"), app.head(JOBS, status="*")

    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    assert head.headers["Content-Length"] == str(len(get.body))


@every_error
@not_of_this_route
def test_other_origins_may_read_what_went_wrong(failing_app, error):
    assert failing_app(an(error)).get(JOBS, status="*").headers["Access-Control-Allow-Origin"] == "*"


WAYS = {
    "unknown tenant": (404, {"PATH_INFO": "/api/tenant/nope/jobs"}),
    "unknown tenant's status": (404, {"PATH_INFO": "/api/tenant/nope/status"}),
    "unknown job": (404, {"PATH_INFO": "/api/tenant/example/job/nope"}),
    "unknown URL of the API": (404, {"PATH_INFO": "/api/nope"}),
    "unknown URL of the next API": (404, {"PATH_INFO": "/v1/nope"}),
    "unknown page": (404, {"PATH_INFO": "/nope"}),
    "unknown query parameter": (400, {"PATH_INFO": JOBS, "QUERY_STRING": "x=1"}),
    "unknown query parameter of a status": (400, {"PATH_INFO": "/api/tenant/example/status", "QUERY_STRING": "x=1"}),
    "NUL in the path": (400, {"PATH_INFO": "/api/\0"}),
    "NUL in a status": (400, {"PATH_INFO": "/api/tenant/\0/status"}),
    "no UTF-8": (400, {"PATH_INFO": "/api/\xff"}),
    "no UTF-8 in a status": (400, {"PATH_INFO": "/api/tenant/\xff/status"}),
    "no UTF-8 in the query": (400, {"PATH_INFO": JOBS, "QUERY_STRING": "%ff"}),
    "no length": (400, {"PATH_INFO": JOBS, "CONTENT_LENGTH": "x"}),
    "method": (405, {"PATH_INFO": JOBS, "REQUEST_METHOD": "DELETE"}),
    "method of a status": (405, {"PATH_INFO": "/api/tenant/example/status", "REQUEST_METHOD": "POST"}),
    "method of a page": (405, {"PATH_INFO": "/", "REQUEST_METHOD": "POST"}),
    "made-up method": (405, {"PATH_INFO": JOBS, "REQUEST_METHOD": "BREW"}),
    "large body": (413, {"PATH_INFO": JOBS, "CONTENT_LENGTH": "9" * 12}),
    "long path": (414, {"PATH_INFO": "/" + "x" * 100_000}),
    "long query": (414, {"PATH_INFO": JOBS, "QUERY_STRING": "x" * 100_000}),
    "long header": (431, {"PATH_INFO": JOBS, "HTTP_X": "x" * 100_000}),
}


@pytest.mark.parametrize(("status", "environ"), WAYS.values(), ids=WAYS)
def test_each_way_of_failing_has_the_shape(app, send, refusal, status, environ):
    refusal(send(app, **environ), status)


@pytest.mark.parametrize("accept", ["text/html", "text/plain", "image/png", "application/xml"])
@pytest.mark.parametrize(("status", "environ"), WAYS.values(), ids=WAYS)
def test_it_is_json_whatever_the_client_would_like(app, send, refusal, status, environ, accept):
    refusal(send(app, **{"HTTP_ACCEPT": accept, **environ}), status)
