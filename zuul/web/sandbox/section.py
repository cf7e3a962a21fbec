# SPDX-License-Identifier: Apache-2.0
"""Reading a YAML mapping strictly: each complaint names the file, the key and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


class ScenarioError(ValueError):
    """A scenario file that cannot be used, in one sentence for the person who wrote it."""


class Section:
    """One mapping of a scenario file.

    Each reader takes its key out; `close` then refuses whatever nobody asked for, so a misspelt key is
    never ignored.
    """

    def __init__(self, file: str, path: str, value: object) -> None:
        self.file = file
        self.path = path
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ScenarioError(f"{file}: {path or 'the document'} must be a mapping with text keys")
        self._unread: dict[str, Any] = dict(value)
        self._known: list[str] = []

    def error(self, key: str, allowed: str) -> ScenarioError:
        """The complaint about one key of this section."""
        return ScenarioError(f"{self.file}: {self._at(key)} {allowed}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text that must be there unless a default is given."""
        value = self._take(key, default)
        if not isinstance(value, str) or not value:
            raise self.error(key, "must be a text")
        return value

    def optional(self, key: str) -> str | None:
        """A text, or None where the key is missing or null."""
        return None if self._unread.get(key) is None and self._take(key) is None else self.text(key)

    def text_or_null(self, key: str, default: str) -> str | None:
        """A text, the default where the key is missing, or None where it is null."""
        return self.text(key, default) if self._unread.get(key, default) is not None else self._take(key)

    def one_of(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        """A text out of a closed set."""
        value = self._take(key, default)
        choices = sorted(allowed)
        if value not in choices:
            raise self.error(key, f"is {value!r}; allowed: {', '.join(choices)}")
        return str(value)

    def texts(self, key: str, allowed: Iterable[str] | None = None) -> tuple[str, ...]:
        """A list of texts (missing: empty), each out of `allowed` if that is given."""
        value = self._take(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self.error(key, "must be a list of texts")
        if allowed is not None:
            choices = sorted(allowed)
            for entry in value:
                if entry not in choices:
                    raise self.error(key, f"names {entry!r}; allowed: {', '.join(choices)}")
        return tuple(value)

    def number(self, key: str, minimum: float, maximum: float, default: float | None = None) -> float:
        """A number within its bounds, which must be there unless a default is given."""
        value = self._take(key, default)
        wrong = isinstance(value, bool) or not isinstance(value, int | float)
        if wrong or not minimum <= value <= maximum:
            raise self.error(key, f"must be a number from {minimum:g} to {maximum:g}")
        return float(value)

    def optional_number(self, key: str, minimum: float, maximum: float) -> float | None:
        """A number within its bounds, or None where the key is missing."""
        return self.number(key, minimum, maximum) if key in self._unread else self._take(key)

    def flag(self, key: str) -> bool | None:
        """True or false, or None where the key is missing."""
        value = self._take(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A mapping with text keys and any values (missing: empty)."""
        value = self._take(key, {})
        Section(self.file, self._at(key), value)
        return dict(value)

    def sections(self, key: str) -> list[Section]:
        """A list of mappings (missing: empty)."""
        return [Section(self.file, f"{self._at(key)}[{n}]", entry) for n, entry in enumerate(self.entries(key))]

    def entries(self, key: str) -> Sequence[Any]:
        """A list of anything (missing: empty)."""
        value = self._take(key, [])
        if not isinstance(value, list):
            raise self.error(key, "must be a list")
        return value

    def section(self, key: str) -> Section:
        """A mapping to be read as strictly as this one (missing: empty)."""
        return Section(self.file, self._at(key), self._take(key, {}))

    def unread(self) -> dict[str, Any]:
        """The keys that nobody has read yet, with their values."""
        return dict(self._unread)

    def close(self) -> None:
        """Refuse the keys that nobody has read."""
        for key in self._unread:
            raise self.error(key, f"is not a known key; allowed: {', '.join(sorted(self._known))}")

    def _take(self, key: str, default: Any = None) -> Any:
        self._known.append(key)
        return self._unread.pop(key, default)

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
