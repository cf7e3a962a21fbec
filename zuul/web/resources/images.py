# SPDX-License-Identifier: Apache-2.0
"""Images that Nodepool builds, their builds, and the uploads of builds to providers."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class Image(Resource):
    """An image that builders build again and again. It is here once somebody has built it, or asked for a build."""

    _key = "name"

    name = always(str)
    """Unique in the installation."""

    paused = always(bool)
    """Whether no builds of it are to be made. One that nodepool.yaml has paused does not show here."""

    build_requested = always(bool)
    """Whether somebody asked for a build that has not begun yet."""

    builds = always(int)
    """How many builds of it there are, whatever their state."""

    building = always(bool)
    """Whether one is being made."""

    newest_ready = always(str, null=True)
    """The id of the newest build that is ready."""

    providers = always([str])
    """The providers that have an upload of it which is ready."""

    @classmethod
    def sample(cls) -> Image:
        return cls(
            name="debian",
            paused=False,
            build_requested=False,
            builds=2,
            building=True,
            newest_ready="debian-0000000007",
            providers=["cloud-one"],
        )


class ImageBuild(Resource):
    """One build of an image, on the disk of its builder."""

    _key = "id"

    id = always(str)
    """`IMAGE-NUMBER`, as Nodepool's own commands have it."""

    image = always(str)
    """The name of the image."""

    number = always(str)
    """Ten digits, unique among the builds of the image."""

    state = always(str, null=True)
    """`building`, `ready`, `deleting` or `failed`."""

    state_time = always(float, null=True)
    """Epoch seconds of the last change of the state."""

    locked = always(bool)
    """Whether a builder is about to clean it up."""

    builder = always(str, null=True)
    """The host of the builder."""

    builder_id = always(str, null=True)
    """The id of the builder, which stays when the host is renamed."""

    formats = always([str])
    """The formats that it is there in: `qcow2`, `raw` ..."""

    username = always(str, null=True)
    """The user that Zuul is on nodes of it."""

    python_path = always(str, null=True)
    """The path of the Python on nodes of it, or `auto`."""

    @classmethod
    def sample(cls) -> ImageBuild:
        return cls(
            id="debian-0000000007",
            image="debian",
            number="0000000007",
            state="ready",
            state_time=1600000000.5,
            locked=False,
            builder="nb01.example.com",
            builder_id="b2f1a7c4-0a3e-4b0a-9d8e-5d1d5d3c7a55",
            formats=["qcow2", "raw"],
            username="zuul",
            python_path="auto",
        )


class ImageUpload(Resource):
    """One upload of a build of an image to a provider."""

    _key = "id"

    id = always(str)
    """`IMAGE-BUILD-PROVIDER-NUMBER`."""

    image = always(str)
    """The name of the image."""

    build = always(str)
    """The id of the build."""

    build_number = always(str)
    """The number of the build among those of the image."""

    provider = always(str)
    """The name of the provider."""

    number = always(str)
    """Ten digits, unique among the uploads of the build to the provider."""

    state = always(str, null=True)
    """`uploading`, `ready`, `deleting` or `failed`."""

    state_time = always(float, null=True)
    """Epoch seconds of the last change of the state."""

    locked = always(bool)
    """Whether a builder is about to clean it up."""

    external_id = always(str, null=True)
    """The id that the provider knows it by."""

    external_name = always(str, null=True)
    """The name that it has at the provider."""

    format = always(str, null=True)
    """The format that was uploaded."""

    username = always(str, null=True)
    """The user that Zuul is on nodes of it."""

    python_path = always(str, null=True)
    """The path of the Python on nodes of it, or `auto`."""

    @classmethod
    def sample(cls) -> ImageUpload:
        return cls(
            id="debian-0000000007-cloud-one-0000000001",
            image="debian",
            build="debian-0000000007",
            build_number="0000000007",
            provider="cloud-one",
            number="0000000001",
            state="ready",
            state_time=1600000000.5,
            locked=False,
            external_id="9f0c1f5e",
            external_name="debian-1600000000",
            format="qcow2",
            username="zuul",
            python_path="auto",
        )
