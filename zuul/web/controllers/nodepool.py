# SPDX-License-Identifier: Apache-2.0
"""Nodepool: labels, nodes, requests, launchers, providers, and images with their builds and uploads."""

from __future__ import annotations

from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.replies import Known
from zuul.web.expose import expose
from zuul.web.resources.images import Image, ImageBuild, ImageUpload
from zuul.web.resources.labels import LabelDetail, Launcher, Provider
from zuul.web.resources.nodes import NodeDetail, NodeRequest


class AllLabelsController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([LabelDetail])
    def get_all(self) -> Known:
        """The labels that launchers have, whichever tenants may use them."""
        return self._nodepool.labels()

    @expose(LabelDetail, str)
    def get_one(self, label: str) -> Known:
        """One label.

        :raises NotFound: no launcher has it.
        """
        return self._nodepool.one(self._nodepool.labels(), "name", label, "Label")


class AllNodesController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([NodeDetail])
    def get_all(self) -> Known:
        """All nodes."""
        return self._nodepool.nodes()

    @expose(NodeDetail, str)
    def get_one(self, node: str) -> Known:
        """One node.

        :raises NotFound: there is none of this id.
        """
        return self._nodepool.one(self._nodepool.nodes(), "id", node, "Node")


class RequestsController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([NodeRequest])
    def get_all(self) -> Known:
        """Requests for nodes whose nodes have not been taken yet."""
        return self._nodepool.requests()

    @expose(NodeRequest, str)
    def get_one(self, request: str) -> Known:
        """One request for nodes.

        :raises NotFound: there is none of this id, or no longer.
        """
        return self._nodepool.one(self._nodepool.requests(), "id", request, "Request")


class LaunchersController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([Launcher])
    def get_all(self) -> Known:
        """Launchers that are connected, one for each pool of a provider."""
        return self._nodepool.launchers()

    @expose(Launcher, str)
    def get_one(self, launcher: str) -> Known:
        """One launcher.

        :raises NotFound: none of this id is connected.
        """
        return self._nodepool.one(self._nodepool.launchers(), "id", launcher, "Launcher")


class ProvidersController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([Provider])
    def get_all(self) -> Known:
        """Providers that a launcher, a node or an upload names."""
        return self._nodepool.providers()

    @expose(Provider, str)
    def get_one(self, provider: str) -> Known:
        """One provider.

        :raises NotFound: nothing names it.
        """
        return self._nodepool.one(self._nodepool.providers(), "name", provider, "Provider")


class ImagesController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([Image])
    def get_all(self) -> Known:
        """Images that Nodepool has built, or was asked to build."""
        return self._nodepool.images()

    @expose(Image, str)
    def get_one(self, image: str) -> Known:
        """One image.

        :raises NotFound: there is none of this name.
        """
        return self._nodepool.one(self._nodepool.images(), "name", image, "Image")


class ImageBuildsController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([ImageBuild])
    def get_all(self) -> Known:
        """Builds of images."""
        return self._nodepool.builds()

    @expose(ImageBuild, str)
    def get_one(self, build: str) -> Known:
        """One build of an image.

        :raises NotFound: there is none of this id.
        """
        return self._nodepool.one(self._nodepool.builds(), "id", build, "Build")


class UploadsController:
    def __init__(self, nodepool: Nodepool) -> None:
        self._nodepool = nodepool

    @expose([ImageUpload])
    def get_all(self) -> Known:
        """Uploads of builds of images to providers."""
        return self._nodepool.uploads()

    @expose(ImageUpload, str)
    def get_one(self, upload: str) -> Known:
        """One upload.

        :raises NotFound: there is none of this id.
        """
        return self._nodepool.one(self._nodepool.uploads(), "id", upload, "Upload")
