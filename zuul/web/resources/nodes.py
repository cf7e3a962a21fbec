# SPDX-License-Identifier: Apache-2.0
"""Nodes, requests for nodes, and what clients send to have something done to a node.

`Node` has the keys of zuul-web 3.19.1, `NodeDetail` all that Nodepool tells, but for what may be secret. What a node
does not have is null: no two drivers fill in the same.
"""

from __future__ import annotations

from zuul.web.resources.base import Body, JsonObject, Resource, TextType, WholeType, always, sometimes

LONGEST_HOLD = 366 * 86400
MOST_OF_A_COMMENT = 1024


class Node(Resource):
    """A machine, or whatever else builds run on."""

    _key = "id"

    id = always(str)
    """Ten digits, unique in the installation."""

    type = always([str])
    """The labels that it can serve."""

    connection_type = always(str, null=True)
    """How it is reached: `ssh`, `winrm`, `kubectl` ..."""

    external_id = always(str, null=True)
    """The id that its provider knows it by."""

    provider = always(str, null=True)
    """The name of its provider."""

    state = always(str, null=True)
    """`init`, `building`, `testing`, `ready`, `in-use`, `used`, `hold`, `deleting`, `failed`, `aborted`, `deleted`."""

    state_time = always(float, null=True)
    """Epoch seconds of the last change of the state."""

    comment = always(str, null=True)
    """Why it is held."""

    @classmethod
    def sample(cls) -> Node:
        return cls(
            id="0000000042",
            type=["debian-small"],
            connection_type="ssh",
            external_id="4c0a1b2c",
            provider="cloud-one",
            state="hold",
            state_time=1600000000.5,
            comment="to look at a failure",
        )


class HeldFor(Resource):
    """The autohold that has kept a node."""

    tenant = always(str)
    """The tenant of the build."""

    project = always(str)
    """The canonical name of the project."""

    job = always(str)
    """The name of the job."""

    ref_filter = always(str)
    """A regular expression of refs: which builds were to be held."""

    @classmethod
    def sample(cls) -> HeldFor:
        return cls(tenant="tenant-one", project="git.example.com/org/nested", job="unit", ref_filter=".*")


class NodeDetail(Node):
    """A node with all that is known of it, and what it is used for."""

    created_time = always(float, null=True)
    """Epoch seconds of its making."""

    locked = always(bool)
    """Whether somebody has its lock: Zuul while a build runs on it, a launcher while it makes or deletes it."""

    pool = always(str, null=True)
    """The pool of its provider."""

    cloud = always(str, null=True)
    """The name of the cloud."""

    region = always(str, null=True)
    """The region of the cloud."""

    az = always(str, null=True)
    """The availability zone of the cloud."""

    launcher = always(str, null=True)
    """The launcher that made it."""

    hostname = always(str, null=True)
    """Its name."""

    interface_ip = always(str, null=True)
    """The address that Zuul reaches it by."""

    public_ipv4 = always(str, null=True)
    """An address of it."""

    private_ipv4 = always(str, null=True)
    """An address of it."""

    public_ipv6 = always(str, null=True)
    """An address of it."""

    connection_port = always(int, null=True)
    """The port that Zuul reaches it at; null where the driver keeps something else there, which may be secret."""

    username = always(str, null=True)
    """The user that Zuul is there."""

    python_path = always(str, null=True)
    """The path of the Python there, or `auto`."""

    host_keys = always([str])
    """Its public keys."""

    host_id = always(str, null=True)
    """What its provider calls the host that it is on."""

    image_id = always(str, null=True)
    """What its provider calls the image that it was made of."""

    resources = always(JsonObject, null=True)
    """What it uses of its provider's quota."""

    attributes = always(JsonObject, null=True)
    """What nodepool.yaml says of its pool."""

    allocated_to = always(str, null=True)
    """The id of the request that it serves or served."""

    requestor = always(str, null=True)
    """Who made that request, if it was there while we looked: requests end when their nodes are handed over."""

    event_id = always(str, null=True)
    """Zuul's id of the event that the request was made for, as in its logs; known as long as `requestor` is."""

    hold_job = always(str, null=True)
    """What it is held for, as Zuul writes it."""

    hold_expiration = always(int, null=True)
    """Seconds from `state_time` until a held node is deleted; null or 0: as nodepool.yaml has it for all."""

    held_for = always(HeldFor, null=True)
    """The same as `hold_job`, taken apart; null if it is held by hand."""

    held_build = always(str, null=True)
    """The uuid of the build that it is held for, if an autohold did it."""

    @classmethod
    def sample(cls) -> NodeDetail:
        node = Node.sample()
        given = {
            **{name: getattr(node, name) for name in Node._wsme_attr_order},
            "created_time": 1599999000.0,
            "locked": False,
            "pool": "main",
            "hostname": "debian-small-0000000042",
            "interface_ip": "203.0.113.7",
            "public_ipv4": "203.0.113.7",
            "connection_port": 22,
            "username": "zuul",
            "host_keys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEm"],
            "resources": {"cores": 4, "ram": 8192},
            "allocated_to": "200-0000000012",
            "hold_job": "tenant-one git.example.com/org/nested unit .*",
            "hold_expiration": 86400,
            "held_for": HeldFor.sample(),
            "held_build": "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11",
        }
        return cls(**{name: given.get(name) for name in cls._wsme_attr_order})


class NodeRequest(Resource):
    """A request for nodes, mostly of Zuul's for one build. It ends when it was fulfilled and the nodes were taken."""

    _key = "id"

    id = always(str)
    """`PRIORITY-NUMBER`: the smaller, the sooner."""

    state = always(str, null=True)
    """`requested`, `pending` (a launcher has it), `fulfilled` or `failed`."""

    state_time = always(float, null=True)
    """Epoch seconds of the last change of the state."""

    created_time = always(float, null=True)
    """Epoch seconds of its making, of requestors that say so."""

    locked = always(bool)
    """Whether a launcher works on it."""

    node_types = always([str])
    """The labels that it asks for, one for each node."""

    nodes = always([str])
    """The ids of the nodes that it got."""

    declined_by = always([str])
    """The ids of the launchers that cannot fulfil it."""

    relative_priority = always(int)
    """Among those of the same priority: the smaller, the sooner."""

    requestor = always(str, null=True)
    """Who asks: `zuul-scheduler`, or `NodePool:min-ready`."""

    event_id = always(str, null=True)
    """Zuul's id of the event that it was made for, as in its logs."""

    provider = always(str, null=True)
    """The only provider that may fulfil it, if there is such a one."""

    reuse = always(bool)
    """Whether nodes that are ready may be taken."""

    @classmethod
    def sample(cls) -> NodeRequest:
        return cls(
            id="200-0000000012",
            state="pending",
            state_time=1600000000.5,
            created_time=1600000000.0,
            locked=True,
            node_types=["debian-small"],
            nodes=["0000000042"],
            declined_by=[],
            relative_priority=0,
            requestor="zuul-scheduler",
            event_id="8d1e5a0f4c6b4bd0a4a5e2d9f7c33c1e",
            provider=None,
            reuse=True,
        )


COMMENT = TextType("text", r"[^\x00-\x08\x0b-\x1f\x7f]*", least=0, most=MOST_OF_A_COMMENT)


class NodeHold(Body):
    """Why a node is to be kept, and for how long."""

    comment = sometimes(COMMENT, null=True)
    """Why, for others to read."""

    expiration = sometimes(WholeType(0, LONGEST_HOLD), null=True)
    """Seconds until Nodepool deletes it; 0, null or left out: as nodepool.yaml has it for all."""

    @classmethod
    def sample(cls) -> NodeHold:
        return cls(comment="to look at a failure", expiration=86400)


class NodeState(Body):
    """What is to become of a node, in the words of zuul-client 14."""

    state = always(TextType("hold or used", "hold|used"))
    """`hold`: keep it; `used`: it is held no longer."""

    comment = sometimes(COMMENT, null=True)
    """Why it is kept."""

    @classmethod
    def sample(cls) -> NodeState:
        return cls(state="hold", comment="to look at a failure")
