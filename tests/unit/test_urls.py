# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from urllib.parse import quote

import pytest
from webob import Request
from wsme.types import text

from zuul.web.errors import MethodNotAllowed, NotFound
from zuul.web.expose import expose
from zuul.web.urls import Route, Url, UrlMap, UrlOf, routes


class Books:
    """A controller, made for these tests."""

    def __init__(self, shelf="nowhere"):
        self.shelf = shelf

    @expose([text])
    def get_all(self):
        """All books."""

    @expose(text, str)
    def get_one(self, title):
        """One book."""

    @expose(text, str, str)
    def get_page(self, title, page):
        """A page of it."""

    @expose(text, str)
    def put(self, title):
        """Write one."""

    @expose(text, str)
    def get_of_shelf(self, shelf):
        """The shelf."""

    @expose(text, str)
    def get_top(self, mount):
        """The top."""


def shelf(name):
    books = Books(name)
    notes = {
        "notes": Url(segments=None, get=books.get_one),
        "notes/last": Url(segments=None, get=books.get_page, given=(f"{name}!",)),
    }
    return UrlMap(
        {
            "books": UrlMap({}, index=Url(get=books.get_all), other=Url(segments=1, get=books.get_one, put=books.put)),
            "pages": Url(segments=2, get=books.get_page),
            "paths": Url(segments=None, get=books.get_one, endings={"notes/last": notes["notes/last"], **notes}),
            "files": Url(segments=None, template="{title}.txt", get=books.get_one),
            "bin": Url(segments=1, put=books.put),
        },
        index=Url(given=(name,), get=books.get_of_shelf),
    )


MAP = UrlMap(
    {"shelves": UrlOf("shelf", shelf), "books": Url(get=Books().get_all)},
    index=Url(with_mount=True, get=Books().get_top),
)


def find(path, method="GET", mount="/library", url_map=MAP):
    """What Pecan would call, by name, and the arguments that it would give."""
    request = Request.blank(quote(path), method=method, environ={"SCRIPT_NAME": mount})
    controller, arguments = url_map._route(path.split("/")[1:], request)
    return (controller.__name__, *arguments)


def test_all_routes_of_a_map_are_listed_in_its_order():
    assert [(route.template, route.method, route.controller.__name__) for route in routes(MAP)] == [
        ("", "GET", "get_top"),
        ("/shelves/{shelf}", "GET", "get_of_shelf"),
        ("/shelves/{shelf}/books", "GET", "get_all"),
        ("/shelves/{shelf}/books/{title}", "GET", "get_one"),
        ("/shelves/{shelf}/books/{title}", "PUT", "put"),
        ("/shelves/{shelf}/pages/{title}/{page}", "GET", "get_page"),
        ("/shelves/{shelf}/paths/{page}/notes/last", "GET", "get_page"),
        ("/shelves/{shelf}/paths/{title}/notes", "GET", "get_one"),
        ("/shelves/{shelf}/paths/{title}", "GET", "get_one"),
        ("/shelves/{shelf}/files/{title}.txt", "GET", "get_one"),
        ("/shelves/{shelf}/bin/{title}", "PUT", "put"),
        ("/books", "GET", "get_all"),
    ]


def test_a_route_is_bound_to_a_controller_of_its_variables():
    by_template = {route.template: route for route in routes(MAP)}

    assert by_template["/shelves/{shelf}/books"].controller.__self__.shelf == "{shelf}"


@pytest.mark.parametrize(
    ("template", "variables"),
    [("", []), ("/a", []), ("/a/{b}/c/{d_e}", ["b", "d_e"]), ("/{a}.txt", ["a"]), ("/{a}/{b}/x", ["a", "b"])],
)
def test_a_route_names_its_variables(template, variables):
    assert Route(template, "GET", Books.get_one).variables == variables


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", ("get_top", "/library")),
        ("/", ("get_top", "/library")),
        ("/books", ("get_all",)),
        ("/books/", ("get_all",)),
        ("/shelves/a", ("get_of_shelf", "a")),
        ("/shelves/a/", ("get_of_shelf", "a")),
        ("/shelves/é/books", ("get_all",)),
        ("/shelves/a/books/x", ("get_one", "x")),
        ("/shelves/a/books/x/", ("get_one", "x")),
        ("/shelves/books/books/books", ("get_one", "books")),
        ("/shelves/a/pages/x/1", ("get_page", "x", "1")),
        ("/shelves/a/pages/x/1/", ("get_page", "x", "1")),
        ("/shelves/a/paths/x", ("get_one", "x")),
        ("/shelves/a/paths/x/y.z", ("get_one", "x/y.z")),
        ("/shelves/a/paths/x/y/", ("get_one", "x/y")),
        ("/shelves/a/files/x.txt", ("get_one", "x.txt")),
    ],
)
def test_a_path_leads_to_its_method(path, found):
    assert find(path) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/shelves/a/paths/x/notes", ("get_one", "x")),
        ("/shelves/a/paths/x/y/notes", ("get_one", "x/y")),
        ("/shelves/a/paths/x/y/notes/", ("get_one", "x/y")),
        ("/shelves/a/paths/notes", ("get_one", "notes")),
        ("/shelves/a/paths/notes/notes", ("get_one", "notes")),
        ("/shelves/a/paths/x/notes/y", ("get_one", "x/notes/y")),
        ("/shelves/a/paths/x/y/notes/last", ("get_page", "a!", "x/y")),
        ("/shelves/a/paths/notes/last", ("get_one", "notes/last")),
    ],
)
def test_an_ending_leads_elsewhere_with_what_is_before_it(path, found):
    assert find(path) == found


def test_the_mount_is_given_as_it_is_called():
    assert find("/", mount="/api/v1") == ("get_top", "/api/v1")
    assert find("/", mount="") == ("get_top", "")


@pytest.mark.parametrize(
    "path",
    ["/nope", "/books/x", "/shelves", "/shelves/", "/shelves//books", "/shelves/a/nope", "/shelves/a/books/x/y",
     "/shelves/a/books//", "/shelves/a/pages", "/shelves/a/pages/x", "/shelves/a/pages/x/1/2", "/shelves/a/pages//1",
     "/shelves/a/paths", "/shelves/a/paths/", "/shelves/a/paths//", "/Books", "/shelves/a/bin"],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
def test_what_is_not_in_the_map_is_404_whatever_the_method(path, method):
    with pytest.raises(NotFound, match="there is nothing at"):
        find(path, method)


def test_what_is_not_there_is_said_in_few_words():
    with pytest.raises(NotFound) as refusal:
        find("/" + "x" * 5000)

    assert len(refusal.value.message) < 300


def test_head_is_answered_by_get():
    assert find("/shelves/a/books/x", "HEAD") == ("get_one", "x")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/books", ("GET", "HEAD", "OPTIONS")),
        ("/shelves/a", ("GET", "HEAD", "OPTIONS")),
        ("/shelves/a/books/x", ("GET", "HEAD", "OPTIONS", "PUT")),
        ("/shelves/a/bin/x", ("OPTIONS", "PUT")),
        ("/shelves/a/paths/x/notes", ("GET", "HEAD", "OPTIONS")),
    ],
)
def test_options_and_405_tell_the_methods_of_the_url(path, allowed):
    assert find(path, "OPTIONS") == ("answer", *allowed)
    with pytest.raises(MethodNotAllowed) as refusal:
        find(path, "PATCH")
    assert refusal.value.headers == [("Allow", ", ".join(allowed))]


def test_head_is_405_where_nothing_can_be_read():
    with pytest.raises(MethodNotAllowed):
        find("/shelves/a/bin/x", "HEAD")
