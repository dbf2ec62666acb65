"""OTLP/HTTP logs, sent by OpenTelemetry's own exporter and by hand, to a running server."""

from __future__ import annotations

import gzip
import json
import logging
import time
from typing import Any

import httpx2
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from server import Server
from tallystick.errors import Refused, TooLarge
from tallystick.sources import otlp
from tallystick.sources.otlp import MESSAGES_MAX, translate

JSON = {"Content-Type": "application/json"}
PROTOBUF = {"Content-Type": "application/x-protobuf"}


def found(server: Server, action: str) -> list[dict[str, Any]]:
    with server.client() as client:
        return client.get("/v1/events", params={"action": action, "limit": "100"}).json()["events"]


def post(server: Server, body: bytes, headers: dict[str, str], key: str | None = None) -> Any:
    given = {"Authorization": f"Bearer {key or server.write_key}", **headers}
    with httpx2.Client(base_url=server.url, verify=False, timeout=60) as client:
        return client.post("/v1/logs", content=body, headers=given)


def attribute(key: str, value: Any) -> dict[str, Any]:
    kind = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def request(*records: dict[str, Any], at: int = 1_767_225_600_123_456_789) -> dict[str, Any]:
    """Return a request in JSON with one record for each set of attributes."""
    resource = {"attributes": [attribute("service.name", "billing")]}
    made = [
        {"timeUnixNano": str(at), "attributes": [attribute(*pair) for pair in one.items()]} for one in records
    ]
    return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": made}]}]}


def protobuf(body: dict[str, Any]) -> bytes:
    from google.protobuf.json_format import ParseDict

    return ParseDict(body, ExportLogsServiceRequest()).SerializeToString()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_real_exporter_is_understood(server: Server, compression: Compression) -> None:
    """Whoever points OpenTelemetry at us must find the audit records in the log, and only those."""
    action = f"otlp.real.{compression.name.lower()}"
    exporter = OTLPLogExporter(
        endpoint=f"{server.url}/v1/logs", headers={"Authorization": f"Bearer {server.write_key}"},
        compression=compression, certificate_file=False,  # type: ignore[arg-type]
    )  # fmt: skip
    provider = LoggerProvider(Resource({"service.name": "billing"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log = logging.Logger("otlp")
    log.addHandler(LoggingHandler(logger_provider=provider))
    log.info("nothing to see here")
    log.info(
        "Ann raised the budget",
        extra={
            "audit.action": action, "audit.actor.id": "u_1", "audit.actor.name": "Ann", "audit.target.type": "budget",
            "audit.target.id": "b_1", "audit.outcome": "denied", "audit.workspace": "ws_otlp", "audit.limit": 200,
        },
    )  # fmt: skip
    provider.shutdown()
    (event,) = found(server, action)
    assert (event["actor"]["type"], event["actor"]["id"], event["actor"]["name"]) == ("user", "u_1", "Ann")
    assert event["targets"] == [{"type": "budget", "id": "b_1"}]
    assert (event["outcome"], event["workspace"]) == ("denied", "ws_otlp")
    assert event["metadata"] == {"limit": 200, "body": "Ann raised the budget"}


def test_protobuf_and_json_are_the_same_records(server: Server) -> None:
    """A retry through another encoder, or a second attempt, must not make a second event."""
    body = request(
        {"audit.action": "otlp.same", "audit.n": 1.5}, {"audit.action": "otlp.same", "audit.n": 1.5}
    )
    body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["observedTimeUnixNano"] = "1"
    sent = [
        (json.dumps(body).encode(), JSON),
        (protobuf(body), PROTOBUF),
        (gzip.compress(protobuf(body)), PROTOBUF | {"Content-Encoding": "gzip"}),
    ]
    for raw, headers in sent:
        answer = post(server, raw, headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, headers["Content-Type"])
        assert answer.content in (b"", b"{}")
    events = found(server, "otlp.same")
    assert len(events) == 2
    assert events[0]["actor"] == {"type": "service", "id": "billing"}
    assert events[0]["occurred_at"] == "2026-01-01T00:00:00.123456Z"


def test_twins_in_one_request_are_two(server: Server) -> None:
    """The same act twice in one nanosecond is two acts, each time the request is sent."""
    raw = json.dumps(request({"audit.action": "otlp.twins"}, {"audit.action": "otlp.twins"})).encode()
    for _ in range(2):
        assert post(server, raw, JSON).status_code == 200
    assert len(found(server, "otlp.twins")) == 2


def test_ids_of_traces_are_hexadecimal(server: Server) -> None:
    """A trace id that is read as base64 would lead nobody to the trace."""
    body = request({"audit.action": "otlp.trace", "audit.id": "0192f0c1-2345-7abc-8def-0123456789ab"})
    record = body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]
    record |= {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}
    assert post(server, json.dumps(body).encode(), JSON).status_code == 200
    (event,) = found(server, "otlp.trace")
    assert event["context"]["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert event["id"] == "0192f0c1-2345-7abc-8def-0123456789ab"


@pytest.mark.parametrize("headers", [JSON, PROTOBUF])
def test_what_is_not_recorded_is_counted_and_said(server: Server, headers: dict[str, str]) -> None:
    """Records that are none of ours, or refused, must be told, and must not keep the good ones out."""
    body = request(
        {"audit.action": "otlp.partial"}, {"level": "x"}, {"audit.action": "no action"}, {"other": 1}
    )
    raw = json.dumps(body).encode() if headers == JSON else protobuf(body)
    answer = post(server, raw, headers)
    assert answer.status_code == 200
    if headers == JSON:
        partial = answer.json()["partialSuccess"]
        count, said = int(partial["rejectedLogRecords"]), partial["errorMessage"]
    else:
        read = ExportLogsServiceResponse.FromString(answer.content).partial_success
        count, said = read.rejected_log_records, read.error_message
    assert count == 3
    assert said.startswith("2 log records carry no audit.action and were not recorded. 1 were refused")
    assert "/action" in said
    assert found(server, "otlp.partial")


def test_errors_are_in_the_words_of_the_protocol(server: Server) -> None:
    """An exporter must learn from the status whether to try again, and a person from the message why not."""
    broken = post(server, b"\xff\xff", PROTOBUF)
    assert (broken.status_code, broken.headers["content-type"]) == (400, "application/x-protobuf")
    assert b"ExportLogsServiceRequest" in broken.content
    assert broken.content[:2] == b"\x08\x03"
    assert post(server, b"[", JSON).json()["code"] == 3
    assert post(server, b"{}", {"Content-Type": "text/plain"}).status_code == 415
    refused = post(server, b"{}", JSON, key=server.key("read"))
    assert (refused.status_code, refused.json()["code"]) == (403, 7)


def test_a_full_server_is_worth_another_try() -> None:
    """503 with Retry-After is what an exporter waits for; anything else would lose the records."""
    from tallystick.errors import TryLater
    from tallystick.web.api.otlp import PROTOBUF as KIND
    from tallystick.web.api.otlp import otlp_errors

    error = TryLater("queue is full", retry_after_seconds=7)
    error.add_note(KIND)
    answer = otlp_errors(error, "")
    assert (answer.status_code, answer.headers["Retry-After"], answer.body[:2]) == (503, "7", b"\x08\x0e")


def test_more_events_than_a_batch_holds(server: Server) -> None:
    """An exporter's queue may be longer than our batch; that is no reason to refuse it."""
    records = [{"audit.action": "otlp.many", "audit.n": number} for number in range(1_100)]
    assert post(server, protobuf(request(*records)), PROTOBUF).content == b""
    with server.client() as client:
        assert client.get("/v1/events:count", params={"action": "otlp.many"}).json()["count"] == 1_100


@pytest.mark.parametrize("as_json", [True, False])
def test_small_bytes_that_make_much_memory_are_refused(as_json: bool) -> None:
    """Eight megabytes of empty records are gigabytes once they are read."""
    many = b"\x12\x00" * (MESSAGES_MAX + 1)  # empty log records

    def nested(raw: bytes, tag: bytes) -> bytes:
        size = len(raw)
        out = bytearray()
        while size > 127:
            out.append(size & 127 | 128)
            size >>= 7
        return tag + bytes([*out, size]) + raw

    raw = (
        b'{"resourceLogs":[' + b"{}," * MESSAGES_MAX + b"{}]}"
        if as_json
        else nested(nested(many, b"\x12"), b"\x0a")
    )
    with pytest.raises(TooLarge):
        translate(raw, as_json=as_json)


@pytest.mark.parametrize("raw", [b"\x0a\xff", b"\x0b", b"\x0a\x05\x12", b"\xff" * 40, b"\x0a\x02\x12\x7f"])
def test_broken_bytes_are_refused(raw: bytes) -> None:
    """What is cut off in the middle must be refused, never half of it recorded."""
    with pytest.raises(Refused):
        translate(raw, as_json=False)


def test_no_time_at_all_is_the_time_of_receipt() -> None:
    """A record without a time must not be refused for it, nor dated to 1970."""
    events = translate(json.dumps(request({"audit.action": "x.y"}, at=0)).encode(), as_json=True).events
    assert "occurred_at" not in json.loads(events[0])
    assert otlp._moment(time.time_ns()).startswith("20")
