# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import re
from dataclasses import replace
from urllib.parse import parse_qsl

import pytest
from wsme.types import Enum

from zuul.web.collections import MAX_LIMIT, MAX_OFFSET, Collection, Page
from zuul.web.errors import BadRequest, NotFound
from zuul.web.resources.base import JsonObject, Resource, always, sometimes
from zuul.web.resources.config_errors import ConfigError
from zuul.web.resources.items import QueueItem
from zuul.web.resources.jobs import Job


class Maker(Resource):
    """Made for these tests."""

    city = always(str, null=True)

    tenant = always(str)


class Shelf(Resource):
    """Made for these tests: every kind of attribute that a resource may have."""

    _key = "name"

    name = always(str)

    tenant = sometimes(str)

    size = sometimes(int, null=True)

    weight = sometimes(float, null=True)

    full = sometimes(bool, null=True)

    kind = sometimes(Enum(str, "wood", "steel"))

    colours = sometimes([str])

    maker = sometimes(Maker, null=True)

    makers = sometimes([Maker])

    rows = sometimes([[str]])

    anything = sometimes(JsonObject)


SHELVES = Collection([Shelf])


def page(rows, *query, default_limit=None, of=SHELVES) -> Page:
    return of.page(rows, of.choice(list(query), default_limit))


def names(page: Page):
    return [row["name"] for row in page.rows]


def header(page: Page, name: str):
    return dict(page.headers).get(name)


def next_query(page: Page):
    link = header(page, "Link")
    if link is None:
        return None
    query = re.fullmatch(r'<\?([!#-;=?-~]+)>; rel="next"', link)
    return parse_qsl(query[1], keep_blank_values=True, strict_parsing=True)


def walk(rows, *query, of=SHELVES):
    """All rows, by Link from page to page."""
    found = []
    following = list(query)
    while following is not None:
        part = page(rows, *following, of=of)
        found += part.rows
        following = next_query(part)
        assert len(found) <= len(rows)
    return found


# Which parameters there are.


def test_a_collection_has_the_parameters_of_its_type():
    assert SHELVES.parameters == (
        *("limit", "marker", "offset", "sort_field", "sort_dir", "fields", "omit"),
        *("name", "size", "weight", "full", "kind", "colours", "maker.city"),
    )
    assert SHELVES.sortable == ["name", "size", "weight", "full", "kind", "maker.city"]


def test_an_object_has_those_of_its_attributes():
    assert Collection(Shelf).parameters == ("fields", "omit")


@pytest.mark.parametrize(
    "datatype", [str, JsonObject, [str], {str: Shelf}, [[Shelf]]], ids=["text", "object", "texts", "map", "arrays"]
)
def test_other_things_have_none(datatype):
    assert not Collection(datatype).parameters


def test_rows_without_a_key_have_no_marker():
    assert "marker" not in Collection([ConfigError]).parameters
    assert "marker" in Collection([Job]).parameters


def test_a_name_that_means_something_else_is_no_filter():
    assert "size" not in Collection([Shelf], ["size"]).parameters


# What they may say.


GOOD = [
    ("limit", ["1", "2000", "0005"]),
    ("offset", ["0", "1000000000", "00"]),
    ("sort_field", SHELVES.sortable),
    ("sort_dir", ["asc", "desc"]),
    ("fields", ["name", "name,name", "maker.city,maker", "anything,rows"]),
    ("omit", ["name", "name,size"]),
    ("name", ["", "x", "ü", "true", "1", "a,b", "\n"]),
    ("size", ["0", "-7", "007", "9" * 18]),
    ("weight", ["0", "-1.5", "1e3", "1E-10", "2.25e+99"]),
    ("full", ["true", "FALSE", "True"]),
    ("kind", ["wood", "steel"]),
    ("colours", ["", "red"]),
    ("maker.city", ["", "Ulm"]),
]
BAD = [
    ("limit", ["", "0", "2001", "-1", "+1", "1.0", "1e2", " 1", "1\n", "٣", "0x1", "9" * 5000, "None", "¹", "1_0"]),
    ("offset", ["", "-1", "1000000001", "9" * 5000, "٣", "x"]),
    ("sort_field", ["", "nope", "Name", "tenant", "colours", "maker", "makers.city", "name,size", "anything", "-name"]),
    ("sort_dir", ["", "ASC", "up", "desc ", "asc,desc"]),
    ("fields", ["", ",", "name,", ",name", "nope", "name size", "*", "maker.nope", "anything.x"]),
    ("omit", ["", ",,", "nope", "name.x"]),
    ("size", ["", "x", "1.0", "1e3", "٣", "9" * 19, "--1", " 1", "true", "null"]),
    ("weight", ["", "nan", "inf", ".5", "1.", "٣", "1e", "0x1", "1_0"]),
    ("full", ["", "1", "yes", "null", "true "]),
    ("kind", ["", "glass", "Wood"]),
]


def each(table):
    return [(name, value) for name, values in table for value in values]


@pytest.mark.parametrize(("name", "value"), each(GOOD), ids=lambda text: f"{text:.12}")
def test_a_good_value_is_taken(name, value):
    assert isinstance(page([{"name": "x"}], (name, value)), Page)


@pytest.mark.parametrize(("name", "value"), each(BAD), ids=lambda text: f"{text:.12}")
def test_a_bad_value_is_refused_by_the_name_of_its_parameter(name, value):
    with pytest.raises(BadRequest) as refusal:
        page([{"name": "x"}], (name, value))

    assert refusal.value.message.startswith(name)


@pytest.mark.parametrize("name", ["limit", "marker", "offset", "sort_field", "sort_dir"])
def test_what_can_be_said_once_is_refused_twice(name):
    with pytest.raises(BadRequest, match=f"^query parameter given more than once: {name}$"):
        SHELVES.choice([(name, "1"), (name, "1")], None)


def test_the_limit_is_the_default_where_none_is_given():
    rows = [{"name": str(n)} for n in range(5)]

    assert names(page(rows, default_limit=2)) == ["0", "1"]
    assert header(page(rows, default_limit=2), "X-Limit") == "2"
    assert names(page(rows, ("limit", "3"), default_limit=2)) == ["0", "1", "2"]
    assert names(page(rows)) == ["0", "1", "2", "3", "4"]
    assert header(page(rows), "X-Limit") is None


def test_fields_may_be_given_several_times():
    both = [("fields", "name"), ("fields", "size,full")]

    assert SHELVES.choice(both, None).tree == SHELVES.choice([("fields", "name,size,full")], None).tree


# What tells one choice from another: equal keys share a rendering.


@pytest.mark.parametrize(
    "other",
    [
        [("name", "b")],
        [("name", "a"), ("name", "b")],
        [("name", "a"), ("limit", "1")],
        [("name", "a&limit=1")],
        [("name", "a"), ("sort_dir", "asc")],
        [("fields", "name")],
        [("omit", "name")],
        [],
    ],
)
def test_choices_that_differ_have_keys_that_do(other):
    assert SHELVES.choice([("name", "a")], None).key != SHELVES.choice(other, None).key


def test_the_key_of_a_choice_is_short_whatever_was_asked():
    assert len(SHELVES.choice([("name", "x" * 8000)], None).key) < 100


def test_the_order_of_parameters_means_nothing():
    one, other = [("name", "a"), ("name", "b"), ("limit", "1")], [("limit", "1"), ("name", "b"), ("name", "a")]
    first, second = SHELVES.choice(one, None), SHELVES.choice(other, None)

    assert first.key == second.key
    assert replace(first, query=()) == replace(second, query=())


# Filters.


ROWS = [
    {"name": "a", "size": 1, "full": True, "colours": ["red", "blue"], "maker": {"city": "Ulm"}, "weight": 0.5},
    {"name": "b", "size": None, "full": False, "colours": [], "maker": None},
    {"name": "c", "size": 2, "colours": ["blue"], "maker": {"city": None}, "kind": "wood"},
    {"name": "d", "size": 1, "weight": 1, "colours": None},
    {"name": ""},
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ([("name", "a")], "a"),
        ([("name", "a"), ("name", "c")], "ac"),
        ([("name", "a"), ("name", "a")], "a"),
        ([("name", "A")], ""),
        ([("name", "a,b")], ""),
        ([("size", "1")], "ad"),
        ([("size", "01"), ("size", "2")], "acd"),
        ([("size", "1"), ("name", "d")], "d"),
        ([("size", "1"), ("name", "c")], ""),
        ([("full", "true")], "a"),
        ([("full", "false")], "b"),
        ([("full", "false"), ("full", "TRUE")], "ab"),
        ([("colours", "blue")], "ac"),
        ([("colours", "blue"), ("colours", "red")], "ac"),
        ([("colours", "[]")], ""),
        ([("maker.city", "Ulm")], "a"),
        ([("maker.city", "")], ""),
        ([("maker.city", "None")], ""),
        ([("weight", "0.50")], "a"),
        ([("weight", "1e0")], "d"),
        ([("kind", "wood")], "c"),
    ],
)
def test_rows_are_chosen_by_their_attributes(query, expected):
    found = page(ROWS, *query)

    assert names(found) == list(expected)
    assert header(found, "X-Total") == str(len(expected))


def test_an_empty_value_is_one_to_look_for():
    assert page(ROWS, ("name", "")).rows == [{"name": ""}]


# Order.


@pytest.mark.parametrize(
    ("path", "ascending", "descending"),
    [
        ("name", ["", "a", "b", "c", "d"], ["d", "c", "b", "a", ""]),
        ("size", ["a", "d", "c", "b", ""], ["c", "a", "d", "b", ""]),
        ("weight", ["a", "d", "b", "c", ""], ["d", "a", "b", "c", ""]),
        ("full", ["b", "a", "c", "d", ""], ["a", "b", "c", "d", ""]),
        ("maker.city", ["a", "b", "c", "d", ""], ["a", "b", "c", "d", ""]),
    ],
)
def test_rows_without_a_value_come_last_in_both_directions(path, ascending, descending):
    assert names(page(ROWS, ("sort_field", path))) == ascending
    assert names(page(ROWS, ("sort_field", path), ("sort_dir", "asc"))) == ascending
    assert names(page(ROWS, ("sort_field", path), ("sort_dir", "desc"))) == descending


def test_a_direction_alone_turns_the_rows_around():
    assert names(page(ROWS, ("sort_dir", "desc"))) == ["", "d", "c", "b", "a"]
    assert names(page(ROWS, ("sort_dir", "asc"))) == ["a", "b", "c", "d", ""]


def test_the_rows_themselves_stay_as_they_are():
    rows = [dict(row) for row in ROWS]

    page(rows, ("sort_field", "size"), ("sort_dir", "desc"), ("limit", "1"), ("fields", "name"))

    assert rows == ROWS


# Pages.


@pytest.mark.parametrize(
    ("query", "expected", "link"),
    [
        ([("limit", "2")], "ab", [("limit", "2"), ("marker", "b")]),
        ([("limit", "2"), ("marker", "b")], ["c", "d"], [("limit", "2"), ("marker", "d")]),
        ([("limit", "2"), ("marker", "d")], [""], None),
        ([("limit", "2"), ("marker", "")], [], None),
        ([("limit", "1"), ("offset", "1")], "b", [("limit", "1"), ("marker", "b")]),
        ([("limit", "1"), ("offset", "1"), ("marker", "b")], "d", [("limit", "1"), ("marker", "d")]),
        ([("offset", "3")], ["d", ""], None),
        ([("offset", "5")], [], None),
        ([("offset", str(MAX_OFFSET)), ("limit", str(MAX_LIMIT))], [], None),
        ([("limit", "5")], ["a", "b", "c", "d", ""], None),
        ([("limit", "1"), ("size", "1")], "a", [("size", "1"), ("limit", "1"), ("marker", "a")]),
    ],
)
def test_a_page_tells_where_the_next_begins(query, expected, link):
    found = page(ROWS, *query)

    assert names(found) == list(expected)
    assert next_query(found) == link


def test_header_fields_tell_what_was_asked():
    found = page(ROWS, ("limit", "1"), ("offset", "1"), ("marker", "a"), ("colours", "blue"))

    assert dict(found.headers) == {"X-Total": "2", "X-Limit": "1", "X-Marker": "a", "X-Offset": "1"}


@pytest.mark.parametrize("marker", ["nope", "None", "1", "a ", "A", "a\r\nX-Evil: 1", "日本"])
def test_a_marker_that_names_no_row_is_404(marker):
    with pytest.raises(NotFound, match="marker"):
        page([*ROWS, {"name": None}, {"name": 1}, {"size": 1}], ("marker", marker))


def test_a_marker_whose_row_the_filters_leave_out_is_404():
    with pytest.raises(NotFound):
        page(ROWS, ("marker", "b"), ("size", "1"))


STRANGE = ["é", "日本", "\U0001f600", "a\r\nX-Evil: 1", '"', "<>", "a b", "a+b", "50%", "&limit=1", "#", "\\", "\x7f"]


@pytest.mark.parametrize("name", [*STRANGE, "plain", ""], ids=ascii)
def test_a_marker_is_safe_in_header_fields(name):
    rows = [{"name": key, "colours": [name]} for key in (name, "z", "zz")]

    found = page(
        rows, ("marker", name), ("limit", "1"), ("colours", name), ("name", "z"), ("name", name), ("name", "zz")
    )
    first = page(rows, ("limit", "1"))

    for _, value in [*found.headers, *first.headers]:
        assert value.isascii() and value.isprintable()
    assert next_query(first) == [("limit", "1"), ("marker", name)]


def test_a_plain_marker_is_repeated_as_it_is():
    assert header(page([{"name": "org/a b+c%"}], ("marker", "org/a b+c%")), "X-Marker") == "org/a b+c%"


@pytest.mark.parametrize("name", ["\ud800", "a\udfff", "a\0b"], ids=ascii)
def test_a_name_that_no_url_can_have_is_passed_by_number(name):
    rows = [{"name": name}, {"name": "b"}, {"name": name + name}]

    assert next_query(page(rows, ("limit", "1"))) == [("limit", "1"), ("offset", "1")]
    assert walk(rows, ("limit", "1")) == rows


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    "keys",
    [
        ["a", "b", "c", "d", "e", "f"],
        ["a", "a", "a", "a", "a"],
        ["a", "b", "a", "c", "b"],
        [None, None, None],
        ["a", None, "b", 5, True, ["x"], {}, ""],
        STRANGE,
        [],
    ],
)
@pytest.mark.parametrize("order", [(), (("sort_dir", "desc"),), (("sort_field", "size"), ("sort_dir", "desc"))])
def test_a_walk_by_links_meets_every_row_once(limit, keys, order):
    rows = [{"name": key, "size": number // 2} for number, key in enumerate(keys)]
    rows += [{"size": 99}, {"size": None}]

    found = walk(rows, ("limit", str(limit)), *order)

    assert found == page(rows, *order).rows
    assert sorted(map(id, found)) == sorted(map(id, rows))


def test_a_walk_goes_on_where_it_was_while_other_rows_come_and_go():
    rows = [{"name": name} for name in "abcdefgh"]
    first = page(rows, ("limit", "3"))

    changed = [{"name": "0"}, *(row for row in rows if row["name"] not in "ae")]

    assert names(page(changed, *next_query(first))) == ["d", "f", "g"]


def test_rows_without_a_key_are_walked_by_number():
    rows = [{"error": f"e{number % 2}", "source_context": {"project": "p"}} for number in range(7)]
    of = Collection([ConfigError])

    assert walk(rows, ("limit", "2"), ("error", "e1"), of=of) == [row for row in rows if row["error"] == "e1"]


def test_items_that_share_an_id_are_all_met():
    rows = [{"id": key, "position": number} for number, key in enumerate([None, "1,1", "1,1", None, "2,1"])]

    assert walk(rows, ("limit", "1"), of=Collection([QueueItem])) == rows


# All of it together, against a model that is written to be read.


def plain_model(rows, query):
    given = {}
    for name, value in query:
        given.setdefault(name, []).append(value)
    if "size" in given:
        rows = [row for row in rows if row.get("size") in [int(text) for text in given["size"]]]
    if "colours" in given:
        rows = [row for row in rows if any(colour in (row.get("colours") or []) for colour in given["colours"])]
    if "maker.city" in given:
        rows = [row for row in rows if (row.get("maker") or {}).get("city") in given["maker.city"]]
    path, descending = given.get("sort_field", [None])[0], given.get("sort_dir", ["asc"])[0] == "desc"
    if path:
        known = [row for row in rows if row.get(path) is not None]
        ranked = sorted({row[path] for row in known}, reverse=descending)
        rows = [row for value in ranked for row in known if row[path] == value] + [
            row for row in rows if row not in known
        ]
    elif descending:
        rows = list(reversed(rows))
    total = len(rows)
    if "marker" in given:
        keys = [row.get("name") for row in rows]
        if given["marker"][0] not in keys:
            return None
        rows = rows[keys.index(given["marker"][0]) + 1 :]
    rows = rows[int(given.get("offset", ["0"])[0]) :]
    return total, rows[: int(given.get("limit", ["999"])[0])]


def random_row(chance, number):
    row = {"name": f"{chance.choice('abcö/日')}{number}"}
    for name, values in (
        ("size", [None, 0, 1, 2, 10]),
        ("weight", [None, 0.5, 1, 2]),
        ("colours", [None, [], ["red"], ["red", "blue"]]),
        ("maker", [None, {"city": "Ulm"}, {"city": None}, {}]),
    ):
        if chance.random() < 0.7:
            row[name] = chance.choice(values)
    return row


def random_query(chance, rows):
    query = []
    for name, values in (
        ("size", ["0", "1", "2", "10", "77"]),
        ("colours", ["red", "blue", "green"]),
        ("maker.city", ["Ulm", "Bonn"]),
    ):
        if chance.random() < 0.25:
            query += [(name, value) for value in chance.sample(values, chance.randint(1, 2))]
    if chance.random() < 0.6:
        query.append(("sort_field", chance.choice(["name", "size", "weight"])))
    if chance.random() < 0.5:
        query.append(("sort_dir", chance.choice(["asc", "desc"])))
    if chance.random() < 0.4 and rows:
        query.append(("marker", chance.choice(rows)["name"]))
    if chance.random() < 0.3:
        query.append(("offset", str(chance.randint(0, 8))))
    if chance.random() < 0.7:
        query.append(("limit", str(chance.randint(1, 9))))
    chance.shuffle(query)
    return query


@pytest.mark.parametrize("seed", range(8))
def test_any_combination_gives_what_a_plain_model_gives(seed):
    chance = random.Random(seed)
    for _ in range(150):
        rows = [random_row(chance, number) for number in range(chance.randint(0, 25))]
        query = random_query(chance, rows)
        expected = plain_model(rows, query)
        if expected is None:
            with pytest.raises(NotFound):
                page(rows, *query)
            continue
        found = page(rows, *query)
        assert (header(found, "X-Total"), found.rows) == (str(expected[0]), expected[1]), query


@pytest.mark.parametrize("seed", range(4))
def test_any_walk_meets_what_a_plain_model_gives(seed):
    chance = random.Random(100 + seed)
    for _ in range(60):
        rows = [random_row(chance, number) for number in range(chance.randint(0, 25))]
        for row in chance.sample(rows, len(rows) // 3):
            row["name"] = chance.choice(["twin", None, *STRANGE])
        query = [
            (name, value)
            for name, value in random_query(chance, rows)
            if name not in ("marker", "offset", "limit")
            and value is not None
            and (name, value) != ("sort_field", "name")
        ]
        _, expected = plain_model(rows, query)
        found = walk(rows, *query, ("limit", str(chance.randint(1, 6))))
        assert list(map(id, found)) == list(map(id, expected)), query
