"""Events as a table: who, what, when, where, one row each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

# What is nested beyond these stays whole, as JSON text.
_COLUMNS: Final[tuple[tuple[str, tuple[str | int, ...]], ...]] = (
    ("position", ("position",)), ("id", ("id",)), ("occurred_at", ("occurred_at",)), ("received_at", ("received_at",)),
    ("action", ("action",)), ("outcome", ("outcome",)), ("actor_type", ("actor", "type")), ("actor_id", ("actor", "id")),
    ("actor_name", ("actor", "name")), ("actor_email", ("actor", "email")), ("target_type", ("targets", 0, "type")),
    ("target_id", ("targets", 0, "id")), ("target_name", ("targets", 0, "name")), ("workspace", ("workspace",)),
    ("stream", ("stream",)), ("ip", ("context", "ip")), ("request_id", ("context", "request_id")),
)  # fmt: skip
_WHOLE: Final = ("before", "after", "metadata")
_TIMES: Final = frozenset({"occurred_at", "received_at"})
ROW_GROUP: Final = 10_000
Columns = dict[str, list[Any]]


def columns_of(events: Iterable[dict[str, Any]]) -> Columns:
    """Return events as columns, times as aware datetimes; before, after and metadata as JSON text."""
    table: Columns = {name: [] for name, _ in _COLUMNS} | {name: [] for name in _WHOLE}
    for event in events:
        for name, path in _COLUMNS:
            value = _at(event, path)
            table[name].append(datetime.fromisoformat(value) if value and name in _TIMES else value)
        for name in _WHOLE:
            table[name].append(json.dumps(event[name], ensure_ascii=False) if name in event else None)
    return table


def to_pandas(columns: Columns) -> pandas.DataFrame:
    """Return a pandas DataFrame."""
    import pandas

    return pandas.DataFrame(columns).astype(dict.fromkeys(_TIMES, "datetime64[us, UTC]"))


def to_polars(columns: Columns) -> polars.DataFrame:
    """Return a polars DataFrame; also an empty one has the types of its columns."""
    import polars

    kinds = {"position": polars.Int64(), **{name: polars.Datetime("us", "UTC") for name in _TIMES}}
    return polars.DataFrame(columns, schema={name: kinds.get(name, polars.String()) for name in columns})


def to_arrow(columns: Columns) -> pyarrow.Table:
    """Return a pyarrow Table; also an empty one has the types of its columns."""
    import pyarrow

    return pyarrow.table(columns, schema=_arrow_schema())


def to_parquet(events: Iterable[dict[str, Any]], path: str | Path) -> int:
    """Write events to a Parquet file and return how many; holds 10,000 of them in memory, however many there are."""
    import pyarrow.parquet

    count = 0
    with pyarrow.parquet.ParquetWriter(path, _arrow_schema(), compression="zstd") as file:
        held: list[dict[str, Any]] = []
        for event in events:
            held.append(event)
            if len(held) == ROW_GROUP:
                file.write_table(to_arrow(columns_of(held)))
                count += len(held)
                held.clear()
        file.write_table(to_arrow(columns_of(held)))
    return count + len(held)


def _arrow_schema() -> pyarrow.Schema:
    import pyarrow

    kinds = {"position": pyarrow.int64(), **{name: pyarrow.timestamp("us", "UTC") for name in _TIMES}}
    names = [*(name for name, _ in _COLUMNS), *_WHOLE]
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in names])


def _at(event: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        try:
            event = event[key]
        except (KeyError, IndexError):
            return None
    return event
