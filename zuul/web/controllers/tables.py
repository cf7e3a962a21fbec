# SPDX-License-Identifier: Apache-2.0
"""The tables of nodepool-launcher's web application, as of 3.14: text, or JSON for who prefers it.

It listens on a port of each launcher, 8005 if nobody has another; here its URLs are at the root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wsme.types import text

from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.nodepool.records import Row
from zuul.web.backends.replies import Known, Reply
from zuul.web.errors import BadRequest
from zuul.web.expose import expose
from zuul.web.resources.nodepool_tables import BuildRow, LabelRow, NodeRow, RequestRow, UploadRow
from zuul.web.tables import Table, age
from zuul.web.urls import Url

NODE_COLUMNS = {
    "id": "ID", "provider": "Provider", "label": "Label", "server_id": "Server ID", "public_ipv4": "Public IPv4",
    "ipv6": "IPv6", "state": "State", "age": "Age", "locked": "Locked", "pool": "Pool", "hostname": "Hostname",
    "private_ipv4": "Private IPv4", "AZ": "AZ", "connection_port": "Port", "launcher": "Launcher",
    "allocated_to": "Allocated To", "hold_job": "Hold Job", "comment": "Comment",
}  # fmt: skip
BUILD_COLUMNS = {
    "id": "ID", "image": "Image", "builder": "Builder", "formats": "Formats", "state": "State", "age": "Age",
}  # fmt: skip
UPLOAD_COLUMNS = {
    "id": "Build ID", "upload_id": "Upload ID", "provider": "Provider", "image": "Image",
    "external_name": "Provider Image Name", "external_id": "Provider Image ID", "state": "State", "age": "Age",
}  # fmt: skip
REQUEST_COLUMNS = {
    "id": "Request ID", "relative_priority": "Priority", "state": "State", "requestor": "Requestor",
    "node_types": "Node Types", "nodes": "Nodes", "declined_by": "Declined By", "event_id": "Event ID",
}  # fmt: skip
LABEL_COLUMNS = {"label": "Label"}


class TablesController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose(text, str, str, path=0, content_type="text/plain", table=[NodeRow])
    def node_list(self, fields: str | None = None, node_id: str | None = None) -> Table:
        """All nodes, or one.

        :param fields: the columns of the text, by their names in JSON, with commas.
        :param node_id: only the node of this id.
        """
        nodes = self._nodepool.nodes()

        def rows(now: float) -> list[Row]:
            return [_node_row(row, now) for row in nodes.data if node_id in (None, "", row["id"])]

        return self._table(NODE_COLUMNS, fields, rows, nodes, more=node_id or "")

    @expose(text, str, path=0, content_type="text/plain", table=[LabelRow])
    def label_list(self, fields: str | None = None) -> Table:
        """The labels that launchers have.

        :param fields: the columns of the text, by their names in JSON, with commas.
        """
        labels = self._nodepool.labels()
        return self._table(LABEL_COLUMNS, fields, lambda now: [{"label": row["name"]} for row in labels.data], labels)

    @expose(text, str, path=0, content_type="text/plain", table=[BuildRow])
    def dib_image_list(self, fields: str | None = None) -> Table:
        """Builds of images.

        :param fields: the columns of the text, by their names in JSON, with commas.
        """
        images, builds = self._nodepool.images(), self._nodepool.builds()

        def rows(now: float) -> list[Row]:
            paused = {row["name"] for row in images.data if row["paused"]}
            return [
                {
                    "id": row["id"],
                    "image": row["image"],
                    "builder": row["builder"],
                    "formats": sorted(row["formats"]),
                    "state": "paused" if row["image"] in paused else row["state"],
                    "age": int(row["state_time"] or 0),
                }
                for row in builds.data
            ]

        return self._table(BUILD_COLUMNS, fields, rows, images, builds)

    @expose(text, str, path=0, content_type="text/plain", table=[UploadRow])
    def image_list(self, fields: str | None = None) -> Table:
        """Uploads of builds of images to providers.

        :param fields: the columns of the text, by their names in JSON, with commas.
        """
        uploads = self._nodepool.uploads()

        def rows(now: float) -> list[Row]:
            same = ("provider", "image", "external_name", "external_id", "state")
            return [
                {
                    "id": row["build_number"],
                    "upload_id": row["number"],
                    **{key: row[key] for key in same},
                    "age": int(row["state_time"] or 0),
                }
                for row in uploads.data
            ]

        return self._table(UPLOAD_COLUMNS, fields, rows, uploads)

    @expose(text, str, path=0, content_type="text/plain", table=[RequestRow])
    def request_list(self, fields: str | None = None) -> Table:
        """Requests for nodes.

        :param fields: the columns of the text, by their names in JSON, with commas.
        """
        requests = self._nodepool.requests()
        return self._table(
            REQUEST_COLUMNS,
            fields,
            lambda now: [{key: row[key] for key in REQUEST_COLUMNS} for row in requests.data],
            requests,
        )

    @expose(text, content_type="text/plain")
    def ready(self) -> Reply:
        """`OK` as long as Nodepool can be read."""
        self._nodepool.known()
        return Reply(b"OK")

    def _table(
        self,
        columns: dict[str, str],
        fields: str | None,
        make: Callable[[float], list[Row]],
        *known: Known,
        more: str = "",
    ) -> Table:
        named = (fields or "").split(",") if fields else []
        shown = {name: title for name, title in columns.items() if not named or name in named}
        if not shown:
            raise BadRequest(f"fields has none of the columns, which are {', '.join(columns)}")
        now = self._nodepool.clock()
        version = " ".join([*(one.version or "" for one in known), more, *shown])
        return Table(version, now, columns, shown, lambda: make(now))


def urls(nodepool: Nodepool) -> dict[str, Any]:
    """The URLs at the root."""
    tables = TablesController(nodepool)
    return {
        "node-list": Url(get=tables.node_list),
        "label-list": Url(get=tables.label_list),
        "image-list": Url(get=tables.image_list),
        "dib-image-list": Url(get=tables.dib_image_list),
        "request-list": Url(get=tables.request_list),
        "ready": Url(get=tables.ready),
    }


def _node_row(row: Row, now: float) -> Row:
    return {
        "id": row["id"],
        "provider": row["provider"],
        "label": row["type"],
        "server_id": row["external_id"],
        "public_ipv4": row["public_ipv4"],
        "ipv6": row["public_ipv6"],
        "state": row["state"],
        "age": age(row["state_time"], now),
        "locked": "locked" if row["locked"] else "unlocked",
        "pool": row["pool"],
        "hostname": row["hostname"],
        "private_ipv4": row["private_ipv4"],
        "AZ": row["az"],
        "connection_port": row["connection_port"],
        "launcher": row["launcher"],
        "allocated_to": row["allocated_to"],
        "hold_job": row["hold_job"],
        "comment": row["comment"],
    }
