# SPDX-License-Identifier: Apache-2.0
"""The rows of the tables of nodepool-launcher's web application, in the keys of 3.14."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class NodeRow(Resource):
    """A node in `/node-list`."""

    id = always(str)
    """Its id."""

    provider = always(str, null=True)
    """Its provider."""

    label = always([str])
    """The labels that it can serve."""

    server_id = always(str, null=True)
    """The id that its provider knows it by."""

    public_ipv4 = always(str, null=True)
    """An address."""

    ipv6 = always(str, null=True)
    """An address."""

    state = always(str, null=True)
    """Its state."""

    age = always(str)
    """Since when it has the state: `DD:HH:MM:SS`."""

    locked = always(str)
    """`locked` or `unlocked`."""

    pool = always(str, null=True)
    """The pool of its provider."""

    hostname = always(str, null=True)
    """Its name."""

    private_ipv4 = always(str, null=True)
    """An address."""

    az = always(str, null=True, name="AZ")
    """The availability zone."""

    connection_port = always(int, null=True)
    """Its port; null where that is no number."""

    launcher = always(str, null=True)
    """The launcher that made it."""

    allocated_to = always(str, null=True)
    """The request that it serves."""

    hold_job = always(str, null=True)
    """What it is held for."""

    comment = always(str, null=True)
    """Why it is held."""

    @classmethod
    def sample(cls) -> NodeRow:
        return cls(
            id="0000000042",
            provider="cloud-one",
            label=["debian-small"],
            server_id=None,
            public_ipv4="203.0.113.7",
            ipv6=None,
            state="ready",
            age="00:01:02:03",
            locked="unlocked",
            pool="main",
            hostname="debian-small-0000000042",
            private_ipv4=None,
            az=None,
            connection_port=22,
            launcher="nl01-42-PoolWorker.cloud-one-main",
            allocated_to=None,
            hold_job=None,
            comment=None,
        )


class LabelRow(Resource):
    """A label in `/label-list`."""

    label = always(str)
    """Its name."""

    @classmethod
    def sample(cls) -> LabelRow:
        return cls(label="debian-small")


class BuildRow(Resource):
    """A build of an image in `/dib-image-list`."""

    id = always(str)
    """`IMAGE-NUMBER`."""

    image = always(str)
    """The image."""

    builder = always(str, null=True)
    """The host of the builder."""

    formats = always([str])
    """The formats that it is there in."""

    state = always(str, null=True)
    """Its state; `paused` while the image is paused."""

    age = always(int)
    """Epoch seconds of the last change of the state; in text since when, as of nodes."""

    @classmethod
    def sample(cls) -> BuildRow:
        return cls(
            id="debian-0000000007",
            image="debian",
            builder="nb01.example.com",
            formats=["qcow2"],
            state="ready",
            age=1600000000,
        )


class UploadRow(Resource):
    """An upload in `/image-list`."""

    id = always(str)
    """The number of the build."""

    upload_id = always(str)
    """The number of the upload."""

    provider = always(str)
    """The provider."""

    image = always(str)
    """The image."""

    external_name = always(str, null=True)
    """The name that it has at the provider."""

    external_id = always(str, null=True)
    """The id that the provider knows it by."""

    state = always(str, null=True)
    """Its state."""

    age = always(int)
    """Epoch seconds of the last change of the state; in text since when, as of nodes."""

    @classmethod
    def sample(cls) -> UploadRow:
        return cls(
            id="0000000007",
            upload_id="0000000001",
            provider="cloud-one",
            image="debian",
            external_name="debian-1600000000",
            external_id="9f0c1f5e",
            state="ready",
            age=1600000000,
        )


class RequestRow(Resource):
    """A request in `/request-list`."""

    id = always(str)
    """Its id."""

    relative_priority = always(int)
    """The smaller, the sooner."""

    state = always(str, null=True)
    """Its state."""

    requestor = always(str, null=True)
    """Who asks."""

    node_types = always([str])
    """The labels that it asks for."""

    nodes = always([str])
    """The nodes that it got."""

    declined_by = always([str])
    """The launchers that cannot fulfil it."""

    event_id = always(str, null=True)
    """Zuul's id of the event that it was made for."""

    @classmethod
    def sample(cls) -> RequestRow:
        return cls(
            id="200-0000000012",
            relative_priority=0,
            state="pending",
            requestor="zuul-scheduler",
            node_types=["debian-small"],
            nodes=[],
            declined_by=[],
            event_id=None,
        )
