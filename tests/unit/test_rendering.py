# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import json
from xml.etree import ElementTree

import pytest
from resource_types import all_resources, every_resource
from wsme.rest.json import encode_result as wsme_json
from wsme.rest.json import fromjson
from wsme.rest.xml import encode_result as wsme_xml
from wsme.types import Enum, isarray, iscomplex, isdict, list_attributes, registry

from zuul.web.errors import BadRequest
from zuul.web.rendering import attribute_paths, chosen, render_json, render_xml
from zuul.web.resources.base import JsonObject, Resource, always, sometimes
from zuul.web.resources.info import Authentication, InfoDocument
from zuul.web.resources.items import QueueItem
from zuul.web.resources.jobs import Job, JobVariant
from zuul.web.resources.status import ItemJob, Status


def data_of(sample: Resource):
    return json.loads(wsme_json(sample, type(sample)))


def with_more(datatype, data):
    """The same data with an attribute that is not declared in each of its objects, at whatever depth."""
    datatype = registry.resolve_type(datatype)
    if data is None:
        return None
    if isarray(datatype):
        return [with_more(datatype.item_type, row) for row in data]
    if isdict(datatype):
        return {key: with_more(datatype.value_type, value) for key, value in data.items()}
    if not iscomplex(datatype):
        return data
    types = {attribute.name: attribute.datatype for attribute in list_attributes(datatype)}
    return {"undeclared": [{"x": 1}], **{name: with_more(types[name], value) for name, value in data.items()}, "": None}


def tree_of(xml: bytes):
    """What the XML says; an object of undeclared keys, which WSME writes as Python, as JSON."""
    return _element(ElementTree.fromstring(xml))


def _element(element: ElementTree.Element):
    text = element.text
    if text and text.startswith("{") and text.endswith("}"):
        text = json.loads(text) if '"' in text or text == "{}" else ast.literal_eval(text)
    return (element.tag, element.attrib, text, [_element(child) for child in element])


def keys_in_order(text: str | bytes):
    return json.loads(text, object_pairs_hook=lambda pairs: pairs)


def test_there_are_resources_to_look_at():
    assert {Status, JobVariant, QueueItem, InfoDocument} <= set(all_resources())


@every_resource
def test_json_is_that_of_wsme(resource):
    sample = resource.sample()

    assert keys_in_order(render_json(resource, data_of(sample))) == keys_in_order(wsme_json(sample, resource))
    rows = [sample, resource.sample()]
    array = render_json([resource], [data_of(sample)] * 2)
    assert keys_in_order(array) == keys_in_order(wsme_json(rows, registry.resolve_type([resource])))


@every_resource
def test_xml_is_that_of_wsme(resource):
    sample = resource.sample()

    assert tree_of(render_xml(resource, data_of(sample))) == tree_of(wsme_xml(sample, resource))
    rows = [sample, resource.sample()]
    array = render_xml([resource], [data_of(sample)] * 2)
    assert tree_of(array) == tree_of(wsme_xml(rows, registry.resolve_type([resource])))


@every_resource
@pytest.mark.parametrize("render", [render_json, render_xml])
def test_what_is_not_declared_is_left_out_at_any_depth(resource, render):
    data = data_of(resource.sample())

    assert render(resource, with_more(resource, data)) == render(resource, data)


@every_resource
def test_keys_are_in_declared_order_whatever_the_datas(resource):
    data = data_of(resource.sample())

    assert render_json(resource, dict(reversed(data.items()))) == render_json(resource, data)


@every_resource
@pytest.mark.parametrize("render", [render_json, render_xml])
def test_what_is_rendered_is_not_changed(resource, render):
    data = data_of(resource.sample())
    before = json.dumps(data)

    render(resource, data, chosen(resource, [], [next(attribute_paths(resource))]))

    assert json.dumps(data) == before


@every_resource
def test_null_is_there_and_what_is_missing_is_not(resource):
    names = [attribute.name for attribute in list_attributes(resource)]
    nothing = dict.fromkeys(names[:1])

    assert json.loads(render_json(resource, nothing)) == nothing
    element = ElementTree.fromstring(render_xml(resource, nothing))
    assert [(child.tag, child.get("nil"), child.text) for child in element] == [(names[0], "true", None)]


class Shelf(Resource):
    """Made for these tests: every kind of attribute that a resource may have."""

    name = always(str)

    size = sometimes(int, null=True)

    weight = sometimes(float)

    full = sometimes(bool)

    kind = sometimes(Enum(str, "wood", "steel"))

    colours = sometimes([str])

    rows = sometimes([[str]])

    by_letter = sometimes({str: [str]}, name="_by_letter")

    anything = sometimes(JsonObject)


SHELVES = [
    {"name": "", "size": 0, "weight": 0.0, "full": False, "colours": [], "rows": [], "_by_letter": {}},
    {"name": "a", "size": -7, "weight": 1.5e300, "full": True, "colours": ["red", ""], "rows": [[], ["x"]]},
    {"name": "b", "size": None, "weight": None, "full": None, "colours": None, "rows": None, "_by_letter": None},
    {"name": "<&>\"'", "kind": "wood", "colours": ["]]>", "&amp;"], "_by_letter": {"<": ["&"], "ö": []}},
    {"name": " a\n\tb ", "weight": 0.1, "size": 2**60, "colours": ["grün", "日本", "\U0001f600"]},
]


@pytest.mark.parametrize("data", SHELVES, ids=range(len(SHELVES)))
def test_every_kind_of_value_is_as_wsme_has_it(data):
    shelf = fromjson(Shelf, data)

    assert tree_of(render_xml(Shelf, data)) == tree_of(wsme_xml(shelf, Shelf))
    assert keys_in_order(render_json(Shelf, data)) == keys_in_order(wsme_json(shelf, Shelf))


@pytest.mark.parametrize("datatype", [str, int, bool, [str], [Shelf], Shelf, {str: Shelf}], ids=str)
def test_nothing_at_all_is_null(datatype):
    assert render_json(datatype, None) == b"null"
    assert render_xml(datatype, None) == b'<result nil="true" />'


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("".join(map(chr, range(32))).replace("\r", ""), "\ufffd" * 9 + "\t\n" + "\ufffd" * 20),
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("\U0001f600\U0010ffff", "\U0001f600\U0010ffff"),
        ("\x7f\x85\u2028", "\x7f\x85\u2028"),
        ("</name><evil/>", "</name><evil/>"),
        ("<![CDATA[x]]>", "<![CDATA[x]]>"),
        ("&#0;&lt;", "&#0;&lt;"),
    ],
)
def test_any_text_can_be_in_xml(text, read):
    shelf = {"name": text, "colours": [text], "_by_letter": {text: [text]}}

    element = ElementTree.fromstring(render_xml(Shelf, shelf).decode())

    assert element.findtext("name") == read
    assert element.findtext("colours/item") == read
    assert (element.findtext("_by_letter/item/key"), element.findtext("_by_letter/item/value/item")) == (read, read)


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\x00\x1b", "\U0001f600", "\u2028"])
def test_any_text_can_be_in_json(text):
    assert json.loads(render_json(Shelf, {"name": text})) == {"name": text}


@pytest.mark.parametrize(
    "anything",
    [{}, {"a": {"b": [1, None, True, 0.5]}}, {"<&": "]]>"}, {"ö": "\U0001f600"}, {"x": "\x1b\ud800"}, {"1": "é"}],
)
def test_an_object_of_its_authors_is_json_text_in_xml(anything):
    element = ElementTree.fromstring(render_xml(Shelf, {"anything": anything}))

    assert json.loads(element.findtext("anything")) == anything


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ([Job], {"name": "x"}),
        ([Job], "name"),
        ([Job], ["name"]),
        ([Job], [5]),
        ([Job], [[]]),
        (Job, "name"),
        (Job, []),
        (Job, {"variants": "parent"}),
        (Job, {"variants": {"parent": 1}}),
        (Job, {"variants": ["parent"]}),
    ],
)
@pytest.mark.parametrize("render", [render_json, render_xml])
def test_what_is_not_of_the_type_is_refused_and_not_walked_through(datatype, data, render):
    with pytest.raises(TypeError):
        render(datatype, data)


# Which attributes.


def rendered(datatype, data, fields, omit):
    return json.loads(render_json(datatype, data, chosen(datatype, fields, omit)))


ITEM = data_of(ItemJob.sample())
WORKER = ITEM["worker"]


@pytest.mark.parametrize(
    ("fields", "omit", "expected"),
    [
        (["name"], [], {"name": "unit"}),
        (["name", "name"], [], {"name": "unit"}),
        (["tries", "name"], [], {"name": "unit", "tries": 1}),
        (["worker"], [], {"worker": WORKER}),
        (["worker.name"], [], {"worker": {"name": WORKER["name"]}}),
        (["worker.hostname", "worker.name"], [], {"worker": WORKER}),
        (["worker", "worker.name"], [], {"worker": WORKER}),
        (["worker.name", "worker"], [], {"worker": WORKER}),
        (["worker", "name"], ["worker.name"], {"name": "unit", "worker": {"hostname": WORKER["hostname"]}}),
        (["worker", "name"], ["worker", "worker.name"], {"name": "unit"}),
        (["worker", "name"], ["worker.name", "worker"], {"name": "unit"}),
        (["worker.name", "name"], ["worker.hostname"], {"name": "unit", "worker": {"name": WORKER["name"]}}),
        (["worker.name", "name"], ["worker.name"], {"name": "unit", "worker": {}}),
        (["name"], ["name"], {}),
        (["name"], ["worker"], {"name": "unit"}),
        ([], ["worker"], {name: value for name, value in ITEM.items() if name != "worker"}),
        ([], ["worker.name"], {**ITEM, "worker": {"hostname": WORKER["hostname"]}}),
        ([], ["worker.name", "worker.hostname"], {**ITEM, "worker": {}}),
        ([], list(ITEM), {}),
    ],
)
def test_attributes_are_chosen_and_left_out(fields, omit, expected):
    assert rendered(ItemJob, ITEM, fields, omit) == expected


def test_a_path_leads_through_arrays_of_arrays():
    data = data_of(Status.sample())

    names = rendered(Status, data, ["pipelines.change_queues.heads.jobs.name"], [])

    item = {"jobs": [{"name": "unit"}]}
    assert names == {"pipelines": [{"change_queues": [{"heads": [[item]]}]}]}
    without = rendered(Status, data, ["pipelines.change_queues.heads"], ["pipelines.change_queues.heads.jobs"])
    (head,) = without["pipelines"][0]["change_queues"][0]["heads"]
    assert "jobs" not in head[0] and head[0]["id"]


def test_a_choice_below_null_is_null():
    assert rendered(ItemJob, {"worker": None}, ["worker.name"], []) == {"worker": None}


def test_what_was_chosen_and_is_not_there_is_left_out():
    assert rendered([Job], [{"name": "x"}], ["description", "variants.parent"], []) == [{}]


@every_resource
def test_a_choice_is_the_same_in_both_forms(resource):
    data = data_of(resource.sample())
    paths = list(attribute_paths(resource))
    tree = chosen(resource, paths[::2], paths[::3])

    remaining = json.loads(render_json(resource, data, tree))

    assert render_xml(resource, data, tree) == render_xml(resource, remaining)


@every_resource
def test_all_attributes_chosen_is_no_choice(resource):
    data = data_of(resource.sample())
    names = list(attribute_paths(resource))

    assert render_json(resource, data, chosen(resource, names, [])) == render_json(resource, data)
    assert json.loads(render_json(resource, data, chosen(resource, [], names))) == {}
    assert ElementTree.fromstring(render_xml(resource, data, chosen(resource, [], names))).text is None


@pytest.mark.parametrize("name", ["fields", "omit"])
@pytest.mark.parametrize(
    "path",
    ["", "nope", "name.x", "worker.", ".worker", "worker..name", "worker.nope", "Name", " name", "worker.name.x"],
)
def test_an_unknown_path_is_named_with_its_parameter(name, path):
    with pytest.raises(BadRequest, match=rf'^{name}: there is no attribute "{path}"$'):
        chosen(ItemJob, **{"fields": [], "omit": [], name: ["name", path]})


@pytest.mark.parametrize("path", ["anything.x", "_by_letter.x", "by_letter", "colours.0"])
def test_there_is_no_way_into_what_has_no_declared_attributes(path):
    with pytest.raises(BadRequest):
        chosen(Shelf, [path], [])


def test_realms_are_chosen_as_a_whole():
    data = data_of(Authentication.sample())

    assert rendered(Authentication, data, ["realms"], []) == {"realms": data["realms"]}
