# SPDX-License-Identifier: Apache-2.0
"""What all JSON objects have in common: how to declare their keys, and how to make one.

    class Label(Resource):
        name = always(str)
        min_ready = sometimes(int)

`always` and `sometimes` say whether the key is there; `null=True`, whether its value may then be null. A `Body` is what
clients send; its keys have types that say more, `TextType` and `WholeType`. A `Query` is what they ask for in a URL.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, TypeVar

from wsme.types import Base, UserType, wsattr

AnyQuery = TypeVar("AnyQuery", bound="Query")


class Key(wsattr):  # type: ignore[misc]  # WSME is untyped
    """A key of a JSON object. WSME takes None for any value; `null` says where clients must expect it."""

    def __init__(self, datatype: Any, *, mandatory: bool, null: bool, name: str | None) -> None:
        super().__init__(datatype, mandatory=mandatory, name=name)
        self.null = null


def always(datatype: Any, *, null: bool = False, name: str | None = None) -> Any:
    """A key that is in every object. `name` is its JSON name, where that is no attribute name."""
    return Key(datatype, mandatory=True, null=null, name=name)


def sometimes(datatype: Any, *, null: bool = False, name: str | None = None) -> Any:
    """A key that is left out of the JSON object until somebody sets it, if only to None."""
    return Key(datatype, mandatory=False, null=null, name=name)


class Resource(Base):  # type: ignore[misc]  # WSME is untyped
    """A JSON object whose keys are declared, in the order in which they are sent."""

    _key: str | None = None
    """The key that names one row of a collection, if its values are different."""

    def __init_subclass__(cls) -> None:
        # Left alone, WSME looks for the order in the source text, that of the subclass before its parent's.
        ancestry = reversed(cls.__mro__)
        names = (name for ancestor in ancestry for name, value in vars(ancestor).items() if isinstance(value, Key))
        cls._wsme_attr_order = list(dict.fromkeys(names))  # a key that says more of its parent's stands where that did

    def __init__(self, **values: Any) -> None:
        """Set the given keys. An undeclared one is a TypeError; WSME would drop it in silence."""
        for name in values:
            if name not in self._wsme_attr_order:
                raise TypeError(f"{type(self).__name__} has no key {name}")
        super().__init__(**values)


class Body(Resource):
    """A JSON object that clients send: `bodies.py` reads it, and refuses what is not declared.

    A key that is `sometimes` there is None where it was left out, so leaving it out and null mean the same.
    """

    def _settle(self) -> None:
        """Have one way to say what can be said in several.

        :raises BadRequest: the keys do not go together.
        """


class Query(Resource):
    """What clients ask for by the parameters of a URL: `queries.py` reads it, and refuses what is not declared.

    An attribute whose type is a list may be given several times. Each is None where it was left out.
    """

    @classmethod
    def asking(cls: type[AnyQuery], **values: Any) -> AnyQuery:
        """For this and nothing else."""
        query = cls(**dict.fromkeys(cls._wsme_attr_order))
        for name, value in values.items():
            setattr(query, name, value)
        query._settle()
        return query

    def _settle(self) -> None:
        """Have one way to say what can be said in several.

        :raises BadRequest: the parameters do not go together.
        """


def key_of(datatype: Any) -> str | None:
    """The key that names one row of a collection of this type; None if there is no such key."""
    return datatype._key if isinstance(datatype, type) and issubclass(datatype, Resource) else None


class JsonObjectType(UserType):  # type: ignore[misc]  # WSME is untyped
    """A JSON object whose keys are its author's own affair, for instance the variables of a job."""

    basetype = dict
    name = "object"

    @staticmethod
    def validate(value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(f"expected an object, got '{type(value)}'")
        return value


JsonObject = JsonObjectType()


class TextType(UserType):  # type: ignore[misc]  # WSME is untyped
    """Text of a form.

    :param meaning: what to write, in the words of an error: `NUMBER,PATCHSET`.
    :param pattern: a regular expression for the whole of it, without anchors, as JavaScript reads it too.
    """

    basetype = str
    name = "text"

    def __init__(self, meaning: str, pattern: str | None = None, *, least: int = 1, most: int = 255) -> None:
        self.meaning = meaning
        self._pattern = re.compile(pattern or ".*", re.DOTALL)
        self._least, self._most = least, most
        self.schema = {"minLength": least, "maxLength": most, "pattern": f"^{pattern}$" if pattern else "^[^\\u0000]*$"}

    def validate(self, value: str) -> str:
        if not self._least <= len(value) <= self._most:
            raise ValueError(f"{self.meaning}, {self._least} to {self._most} characters")
        if not self.fits(value):
            raise ValueError(self.meaning)
        return value

    def fits(self, value: str) -> bool:
        return self._pattern.fullmatch(value) is not None


class WholeType(UserType):  # type: ignore[misc]  # WSME is untyped
    """A whole number from `least` to `most`."""

    basetype = int
    name = "whole"

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self.meaning = f"a whole number from {least} to {most}"
        self.schema = {"minimum": least, "maximum": most}

    def validate(self, value: int) -> int:
        if not self._least <= value <= self._most:
            raise ValueError(self.meaning)
        return value


class FlagType(UserType):  # type: ignore[misc]  # WSME is untyped
    """True or false in a URL, with capitals or without: Python's clients send `True`."""

    basetype = bool
    name = "flag"
    meaning = "true or false"
    words = {"true": True, "false": False, "1": True, "0": False}  # noqa: RUF012 -- never changed
    schema = {"type": "boolean"}  # noqa: RUF012

    def of_text(self, text: str) -> bool:
        try:
            return self.words[text.lower()]
        except KeyError:
            raise ValueError(self.meaning) from None


Flag = FlagType()


class MomentType(UserType):  # type: ignore[misc]  # WSME is untyped
    """A time in a URL; UTC where it does not say otherwise."""

    basetype = datetime
    name = "moment"
    meaning = "a time such as 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 or 2026-01-31, in UTC if it has no offset"
    schema = {  # noqa: RUF012 -- never changed
        "type": "string",
        # Of all days that there are, those that every month has.
        "pattern": r"^[1-9]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])"
        r"([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d)?(\.\d{1,6})?(Z|[+-](0\d|1[0-3]):[0-5]\d)?)?$",
    }
    _form = re.compile(
        r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6})\d*)?(Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?",
        re.ASCII | re.IGNORECASE,
    )

    def of_text(self, text: str) -> datetime:
        """As the database has it: UTC, without saying so."""
        match = self._form.fullmatch(text)
        if match is None:
            raise ValueError(self.meaning)
        day, time, fraction, zone = match.groups()
        try:
            found = datetime.fromisoformat(f"{day}T{time or '00:00'}")
            found += timedelta(microseconds=int((fraction or "0").ljust(6, "0")))
            if zone and zone not in "Zz":
                hours, minutes = int(zone[1:3]), int(zone[-2:])
                found -= timedelta(hours=hours, minutes=minutes) * (-1 if zone[0] == "-" else 1)
        except (ValueError, OverflowError):
            raise ValueError(self.meaning) from None
        return found


Moment = MomentType()


class TimeType(UserType):  # type: ignore[misc]  # WSME is untyped
    """A time of the database, by RFC 3339 in UTC. It is a datetime until it is rendered."""

    basetype = str
    name = "time"
    schema = {"format": "date-time"}  # noqa: RUF012 -- never changed

    def render(self, value: datetime) -> str:
        return f"{value.isoformat()}Z"

    def tobasetype(self, value: datetime) -> str:
        """`render` by WSME's name."""
        return self.render(value)

    def frombasetype(self, value: str) -> datetime:
        """By WSME's name, what takes it back."""
        return Moment.of_text(value)


class NaiveTimeType(TimeType):
    """The same as zuul-web writes it: in whole seconds, without saying that it is UTC."""

    schema = {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$"}  # noqa: RUF012 -- never changed

    def render(self, value: datetime) -> str:
        return value.isoformat(timespec="seconds")


NaiveTime = NaiveTimeType()
Time = TimeType()
