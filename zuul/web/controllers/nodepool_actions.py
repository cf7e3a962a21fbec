# SPDX-License-Identifier: Apache-2.0
"""What administrators do to nodes and images.

None of these belongs to a tenant, so an administrator of any may do it, or whom `may_nodes` names without a tenant. A
node that an autohold keeps for a tenant is that tenant's.
"""

from __future__ import annotations

from zuul.web.auth import Guard, Identity
from zuul.web.backends.nodepool.actions import Actions
from zuul.web.controllers.nodes import check_tenant_of
from zuul.web.expose import expose, requires
from zuul.web.resources.nodes import NodeHold


class NodeActionsController:
    _tenant = None

    def __init__(self, actions: Actions, guard: Guard) -> None:
        self._actions = actions
        self._guard = guard

    @requires("nodes")
    @expose(None, str, body=NodeHold, action="node-hold")
    def hold(self, node: str, body: NodeHold, *, identity: Identity) -> None:
        """Keep a node for somebody to look at: one that is ready, or that Zuul has just let go of.

        One that is held already gets another comment or expiration.

        :raises NotFound: there is no node of this id.
        :raises Conflict: it is in use, about to be used, or has another state.
        """
        check_tenant_of(self._actions, self._guard, identity, node)
        self._actions.hold(node, body.comment, body.expiration)

    @requires("nodes")
    @expose(None, str, action="node-release")
    def release(self, node: str, *, identity: Identity) -> None:
        """Let Nodepool delete a node that is held. It counts as used, and no build will run on it.

        :raises NotFound: there is no node of this id.
        :raises Conflict: it is not held.
        """
        check_tenant_of(self._actions, self._guard, identity, node)
        self._actions.release(node)

    @requires("nodes")
    @expose(None, str, action="node-delete")
    def delete(self, node: str, *, identity: Identity) -> None:
        """Have Nodepool delete a node, whatever its state.

        :raises NotFound: there is no node of this id.
        :raises Conflict: it is in use, or is being made or deleted.
        """
        check_tenant_of(self._actions, self._guard, identity, node)
        self._actions.delete_node(node)


class ImageActionsController:
    _tenant = None

    def __init__(self, actions: Actions) -> None:
        self._actions = actions

    @requires("nodes")
    @expose(None, str, action="image-build")
    def request_build(self, image: str) -> None:
        """Ask for a new build of an image. A builder begins it when it can.

        :raises NotFound: there is no image of this name.
        :raises Conflict: it is paused.
        """
        self._actions.request_build(image)

    @requires("nodes")
    @expose(None, str, action="image-pause")
    def pause(self, image: str) -> None:
        """Have no more builds of an image made.

        :raises NotFound: there is no image of this name.
        """
        self._actions.pause(image)

    @requires("nodes")
    @expose(None, str, action="image-unpause")
    def unpause(self, image: str) -> None:
        """Have builds of an image made again.

        :raises NotFound: there is no image of this name.
        """
        self._actions.unpause(image)

    @requires("nodes")
    @expose(None, str, action="build-delete")
    def delete_build(self, build: str) -> None:
        """Have a build of an image deleted, and all uploads of it.

        :raises NotFound: there is no build of this id.
        :raises Conflict: it is being made or deleted.
        """
        self._actions.delete_build(build)

    @requires("nodes")
    @expose(None, str, action="upload-delete")
    def delete_upload(self, upload: str) -> None:
        """Have an upload deleted at its provider.

        :raises NotFound: there is no upload of this id.
        :raises Conflict: it is being made or deleted.
        """
        self._actions.delete_upload(upload)
