"""Looks into a database of either kind, past all code under test."""

from pathlib import Path

from sqlalchemy import MetaData, create_engine, make_url


def rows(url: str) -> list[str]:
    """Return all rows of all tables, as text, in a fixed order."""
    return sorted(f"{table} {row}" for table, row in _rows(url))


def contents(url: str) -> bytes:
    """Return every byte that a database keeps: what stands in its rows and, for SQLite, in its files."""
    values = [value for _, row in _rows(url) for value in row]
    kept = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    if make_url(url).get_backend_name() == "sqlite":
        file = Path(str(make_url(url).database))
        kept += [each.read_bytes() for each in file.parent.glob(f"{file.name}*")]
    return b"\n".join(kept)


def _rows(url: str) -> list[tuple[str, tuple[object, ...]]]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    tables = MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        found = [
            (name, tuple(row)) for name, table in tables.tables.items() for row in connection.execute(table.select())
        ]
    engine.dispose()
    return found
