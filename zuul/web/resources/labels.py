# SPDX-License-Identifier: Apache-2.0
"""Labels: what a job can ask of Nodepool, and the providers that have them."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class Label(Resource):
    """A label that nodes of jobs can have."""

    _key = "name"

    name = always(str)
    """Unique in the installation."""

    @classmethod
    def sample(cls) -> Label:
        return cls(name="debian-small")


class NodeCounts(Resource):
    """How many nodes there are, by what they are good for."""

    nodes = always(int)
    """All of them, whatever their state."""

    building = always(int)
    """Those that are being made."""

    ready = always(int)
    """Those that can be had at once."""

    in_use = always(int)
    """Those on which a build runs."""

    held = always(int)
    """Those that are kept for somebody to look at."""

    deleting = always(int)
    """Those that were used or are being deleted."""

    @classmethod
    def sample(cls) -> NodeCounts:
        return cls(nodes=5, building=1, ready=2, in_use=1, held=1, deleting=0)


class LabelDetail(NodeCounts, Label):
    """A label, who has it, and its nodes."""

    providers = always([str])
    """The providers whose launchers have it."""

    launchers = always([str])
    """The ids of those launchers."""

    waiting = always(int)
    """How many nodes of it requests wait for."""

    @classmethod
    def sample(cls) -> LabelDetail:
        return cls(
            name="debian-small",
            **_values(NodeCounts.sample()),
            providers=["cloud-one"],
            launchers=["nl01-42-PoolWorker.cloud-one-main"],
            waiting=3,
        )


class Provider(NodeCounts):
    """A provider, as launchers, nodes and images name it, and its nodes."""

    _key = "name"

    name = always(str)
    """Unique in the installation."""

    launchers = always([str])
    """The ids of its launchers, one for each pool."""

    pools = always([str])
    """Its pools, as far as a launcher or a node names them."""

    labels = always([str])
    """The labels that it has."""

    images = always([str])
    """The images that it has an upload of which is ready."""

    uploads = always(int)
    """How many uploads of images it has, whatever their state."""

    @classmethod
    def sample(cls) -> Provider:
        return cls(
            name="cloud-one",
            **_values(NodeCounts.sample()),
            launchers=["nl01-42-PoolWorker.cloud-one-main"],
            pools=["main"],
            labels=["debian-large", "debian-small"],
            images=["debian"],
            uploads=2,
        )


class Launcher(Resource):
    """A launcher of one pool of a provider, there as long as it is connected to ZooKeeper."""

    _key = "id"

    id = always(str)
    """`HOST-PID-PoolWorker.PROVIDER-POOL`."""

    hostname = always(str, null=True)
    """The host that it runs on, if its id says so."""

    pid = always(int, null=True)
    """Its process id there."""

    provider_name = always(str)
    """The provider; `unknown` of launchers that do not say."""

    pool = always(str, null=True)
    """The pool of the provider, if its id says so."""

    supported_labels = always([str])
    """The labels that it has."""

    @classmethod
    def sample(cls) -> Launcher:
        return cls(
            id="nl01-42-PoolWorker.cloud-one-main",
            hostname="nl01",
            pid=42,
            provider_name="cloud-one",
            pool="main",
            supported_labels=["debian-large", "debian-small"],
        )


def _values(counts: NodeCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in NodeCounts._wsme_attr_order}
