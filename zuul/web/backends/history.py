# SPDX-License-Identifier: Apache-2.0
"""The builds that the scheduler's SQL reporter wrote down. So far only whether its database is there."""

from __future__ import annotations

import os

from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from zuul.web.errors import Unavailable

PACKAGES = {
    "mysqldb": "mysqlclient",
    "pymysql": "PyMySQL",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
}
"""What to install for a driver of SQLAlchemy's, where it is not called the same."""

CONNECT_TIMEOUT_DRIVERS = ("mysqldb", "pymysql", "psycopg", "psycopg2")
"""Those that know an option `connect_timeout`, in whole seconds."""


def reachable(dburi: str, timeout_seconds: float, table_prefix: str = "") -> bool:
    """Whether the database, which answers, has the table of builds.

    :raises Unavailable: it does not answer, with the reason and what to do, but never with the password.
    """
    try:
        url = make_url(dburi)
        driver = url.get_driver_name()
    except (ArgumentError, ValueError):
        # Not `from error`, here and below: these errors may quote the password.
        raise Unavailable("dburi must be the URL of a database that SQLAlchemy knows; correct it") from None
    if url.get_backend_name() == "sqlite" and url.database and not os.path.exists(url.database):
        raise Unavailable(f"there is no file {url.database}; correct dburi")  # which a connection would make
    seconds = max(1, int(timeout_seconds))
    options = {"connect_timeout": seconds} if driver in CONNECT_TIMEOUT_DRIVERS else {}
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=options)
    except ImportError:
        package = PACKAGES.get(driver, driver)
        raise Unavailable(f"the driver {driver} is not installed here; pip install '{package}'") from None
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            return inspect(connection).has_table(f"{table_prefix}zuul_build")
    except DBAPIError as error:
        raise Unavailable(f"{_without_password(str(error.orig), url)}; start the database, or correct dburi") from None
    except SQLAlchemyError as error:
        raise Unavailable(f"SQLAlchemy cannot use it ({type(error).__name__})") from None
    finally:
        engine.dispose()


def _without_password(words: str, url: URL) -> str:
    """A driver's error on one line."""
    for secret in (url.password, url.query.get("password")):
        if isinstance(secret, str) and secret:
            words = words.replace(secret, "***")
    return " ".join(words.split())
