# SPDX-License-Identifier: Apache-2.0
"""What `zuul-rest check` asks of a database."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError

from zuul.web.backends.history.database import make_engine, without_password
from zuul.web.backends.history.tables import BUILD, Tables
from zuul.web.errors import Unavailable


@dataclass(frozen=True)
class Found:
    """What there is.

    :param tables: whether it has all of Zuul's tables.
    :param advice: the SQL that makes the indexes it lacks, and what for, in pairs.
    """

    tables: bool
    advice: tuple[tuple[str, str], ...] = ()


def probe(dburi: str, timeout_seconds: float, table_prefix: str = "") -> Found:
    """Look at a database, which answers.

    :raises Unavailable: it does not, with the reason and what to do, but never with the password.
    """
    engine = make_engine(dburi, timeout_seconds=timeout_seconds, connections=1)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
            if not inspect(connection).has_table(f"{table_prefix}{BUILD}"):
                return Found(False)
            try:
                missing = Tables.of(connection, table_prefix).missing()
            except NoSuchTableError:
                return Found(False)
            return Found(True, tuple((index.statement(table_prefix), index.purpose) for index in missing))
    except DBAPIError as error:
        # Not `from error`: it may quote the password.
        words = without_password(str(error.orig), engine.url)
        raise Unavailable(f"{words}; start the database, or correct dburi") from None
    except SQLAlchemyError as error:
        raise Unavailable(f"SQLAlchemy cannot use it ({type(error).__name__})") from None
    finally:
        engine.dispose()
