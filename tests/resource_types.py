# SPDX-License-Identifier: Apache-2.0
"""Every type below `zuul.web.resources`, for tests that hold for all of them."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import pytest

from zuul.web import resources
from zuul.web.resources.base import Body, Query, Resource


def all_resources() -> list[type[Resource]]:
    """Every type of a JSON object that a module of the package defines."""
    modules = [
        import_module(module.name) for module in pkgutil.walk_packages(resources.__path__, f"{resources.__name__}.")
    ]
    return [
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, Resource)
        and member not in (Resource, Body)
        and not issubclass(member, Query)
        and member.__module__ == module.__name__
    ]


every_resource = pytest.mark.parametrize("resource", all_resources(), ids=lambda resource: resource.__name__)
