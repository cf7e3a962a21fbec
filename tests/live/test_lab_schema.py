# SPDX-License-Identifier: Apache-2.0
"""The tables that we make are those of a real Zuul 3.19.1, whose migrations have run on PostgreSQL."""

from __future__ import annotations

import configparser

import pytest
from sqlalchemy import create_engine, inspect, make_url, select
from sqlalchemy.dialects import postgresql

from zuul.web.sandbox.database import ALEMBIC_REVISION, Tables

TABLES = Tables()


@pytest.fixture(scope="module")
def real(lab_conf):
    """The lab's database, which is only read."""
    conf = configparser.RawConfigParser()
    conf.read(lab_conf)
    section = next(name for name in conf.sections() if conf.get(name, "driver", fallback="") == "sql")
    engine = create_engine(make_url(conf.get(section, "dburi")).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("name", sorted(TABLES.metadata.tables))
def test_a_table_is_the_real_one(real, name):
    table = TABLES.metadata.tables[name]
    found = inspect(real)
    dialect = postgresql.dialect()

    def described(column_name, column_type, nullable):
        return column_name, column_type.compile(dialect=dialect), nullable

    assert [described(column.name, column.type, column.nullable) for column in table.columns] == [
        described(column["name"], column["type"], column["nullable"]) for column in found.get_columns(name)
    ]
    assert {index.name: ([column.name for column in index.columns], bool(index.unique)) for index in table.indexes} == {
        index["name"]: (index["column_names"], index["unique"]) for index in found.get_indexes(name)
    }
    assert [column.name for column in table.primary_key] == found.get_pk_constraint(name)["constrained_columns"]
    assert {(key.parent.name, key.column.table.name, key.column.name) for key in table.foreign_keys} == {
        (*key["constrained_columns"], key["referred_table"], *key["referred_columns"])
        for key in found.get_foreign_keys(name)
    }


def test_there_is_no_other_table_of_the_reporters(real):
    assert set(TABLES.metadata.tables) == set(inspect(real).get_table_names())


def test_its_last_migration_is_ours(real):
    assert real.execute(select(TABLES.alembic_version.c.version_num)).scalars().all() == [ALEMBIC_REVISION]
