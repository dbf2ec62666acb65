"""What operations answer with that is no JSON object: signed notes, tiles, streams, pages."""

from __future__ import annotations

from tallystick.web.operation import Reply

_TEXT = {"type": "string"}
_BYTES = {"type": "string", "format": "binary"}

CHECKPOINT = (
    Reply(status=200, summary="The newest checkpoint, a C2SP signed note.", type="text/plain", schema=_TEXT),
)
TILE = (
    Reply(status=200, summary="The hashes, 32 bytes each.", type="application/octet-stream", schema=_BYTES),
)
ENTRIES = (
    Reply(
        status=200, summary="Entries, each after its length.", type="application/octet-stream", schema=_BYTES
    ),
)
STAMP = (Reply(status=200, summary="A time stamp with what it is over.", type="text/plain", schema=_TEXT),)
ANCHOR = (Reply(status=200, summary="A tlog-proof@v1 text.", type="text/plain", schema=_TEXT),)
FEED = (
    Reply(status=200, summary="A page, in order of position."),
    Reply(status=200, summary="Server-sent events.", type="text/event-stream", schema=_TEXT),
)
EXPORT = (
    Reply(status=200, summary="One JSON document a line.", type="application/jsonl", schema=_TEXT),
    Reply(status=200, summary="One event a line, headings first.", type="text/csv", schema=_TEXT),
    Reply(status=200, summary="A file and its proof.", type="application/zip", schema=_BYTES),
    Reply(
        status=200, summary="Columns, with their proof.", type="application/vnd.apache.parquet", schema=_BYTES
    ),
    Reply(status=501, summary="This server lacks pyarrow.", type="application/problem+json"),
)
METRICS = (
    Reply(status=200, summary="All numbers, in Prometheus' text format.", type="text/plain", schema=_TEXT),
)
SCHEMA = (Reply(status=200, summary="The JSON Schema of an event.", type="application/schema+json"),)
PAGE = (Reply(status=200, summary="The page.", type="text/html", schema=_TEXT),)
STATIC = (
    Reply(status=200, summary="The style sheet.", type="text/css", schema=_TEXT),
    Reply(status=200, summary="The picture.", type="image/svg+xml", schema=_TEXT),
    Reply(status=200, summary="The script.", type="text/javascript", schema=_TEXT),
)
READY = (
    Reply(status=200, summary="Ready: events can be recorded and read."),
    Reply(status=503, summary="Not ready; every check that failed says why."),
)
