"""The tables of each version say what the schema site's export of that version says."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from tallystick.catalogue.kinds import ACTIVITIES, CLASS_NAMES
from tallystick.event import limits
from tallystick.ocsf.dialect import CATEGORIES, DIALECTS, SEVERITIES, Dialect
from tallystick.ocsf.plan import STATUSES
from tallystick.ocsf.values import is_address, milliseconds, milliseconds_or_none

from .validity import class_of, export

COMMON = ("actor", "src_endpoint", "dst_endpoint", "http_request", "http_response", "raw_data_hash")

each_version = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())


def has(dialect: Dialect, class_uid: int, attribute: str, profiles: frozenset[str] = frozenset()) -> bool:
    """Tell whether a class of this version has the attribute when these profiles are used."""
    declared = class_of(dialect.version, class_uid)["attributes"].get(attribute)
    return declared is not None and (declared.get("profile") is None or declared["profile"] in profiles)


@each_version
def test_classes_and_their_common_attributes(dialect: Dialect) -> None:
    """The room for actor, endpoints, request, response and hash is exactly what each class has."""
    assert set(dialect.attributes) == {
        uid
        for uid in CLASS_NAMES
        if any(c["uid"] == uid for c in export(dialect.version)["classes"].values())
    }
    for class_uid, room in dialect.attributes.items():
        host = frozenset({"host"}) if class_uid in dialect.host_classes else frozenset()
        assert room == {name for name in COMMON if has(dialect, class_uid, name, host)}, class_uid
        assert (class_uid in dialect.host_classes) == (not has(dialect, class_uid, "actor")), class_uid
        assert class_of(dialect.version, class_uid)["caption"] == CLASS_NAMES[class_uid]
        assert CATEGORIES[class_uid // 1000] == class_of(dialect.version, class_uid)["category_name"]


@each_version
def test_activities(dialect: Dialect) -> None:
    """Every activity we name has the schema's caption, and those a version lacks are listed as absent."""
    for class_uid in dialect.attributes:
        enum = class_of(dialect.version, class_uid)["attributes"]["activity_id"]["enum"]
        absent = dialect.absent_activities.get(class_uid, frozenset())
        captions = {number: text for number, text in ACTIVITIES[class_uid].items() if number not in absent}
        assert captions == {int(number): value["caption"] for number, value in enum.items() if number != "0"}


@each_version
def test_newer_attributes(dialect: Dialect) -> None:
    """What is listed as newer than 1.1.0 exists in this version if listed, and nowhere in 1.1.0."""
    newest, declared = DIALECTS["1.7.0"], export(dialect.version)
    for path in newest.newer:
        owner, attribute = path.split(".")
        holder = declared["objects"].get(owner) or declared["classes"][owner]
        assert (attribute in holder["attributes"]) == (path in dialect.newer), path


@each_version
def test_types(dialect: Dialect) -> None:
    """E-mails and methods are judged by the very lists of the schema, and the text limit is its limit."""
    types, objects = export(dialect.version)["types"], export(dialect.version)["objects"]
    assert f"^{dialect.email.pattern}$" == types["email_t"]["regex"]
    assert dialect.http_methods == set(objects["http_request"]["attributes"]["http_method"]["enum"])
    assert types["string_t"].get("max_len") == dialect.text_max
    assert ("4" in objects["user"]["attributes"]["type_id"]["enum"]) == (dialect.service_type_id == 4)
    protocols = class_of(dialect.version, 3002)["attributes"]["auth_protocol_id"]["enum"]
    assert ("11" in protocols) == (dialect.basic_auth_id == 11)
    assert ("12" in protocols) == (dialect.ldap_auth_id == 12)


@each_version
def test_severities_and_statuses(dialect: Dialect) -> None:
    """Severity and status numbers mean in the schema what we say they mean; none is 99."""
    attributes = class_of(dialect.version, 6003)["attributes"]
    for number, text in SEVERITIES.items():
        assert attributes["severity_id"]["enum"][str(number)]["caption"] == text
    for number, text in STATUSES.values():
        assert attributes["status_id"]["enum"][str(number)]["caption"] == text
    assert 99 not in SEVERITIES


def test_no_field_of_an_event_exceeds_the_text_limit() -> None:
    """Every limit of the wire format is below the text limit of 1.1.0, which is why fields need no cutting."""
    limit = DIALECTS["1.1.0"].text_max
    assert limit is not None
    assert max(*limits.DEVELOPER.values(), *limits.FOREIGN.values()) + 128 < limit


def test_addresses_fit_the_schemas_type() -> None:
    """What counts as an address is taken by the schema's own expression, whatever its spelling."""
    expression = re.compile(export("1.1.0")["types"]["ip_t"]["regex"])
    for text in (
        "192.0.2.1",
        "::",
        "::1",
        "2001:db8::1",
        "1:2:3:4:5:6:7::",
        "64:ff9b::192.0.2.1",
        "fe80::1%eth0",
    ):
        assert is_address(text)
        assert expression.search(text), text
    for text in ("", "unknown", "192.0.2", "192.0.2.1:80", "1.2.3.4\n", "fe80::1%" + "z" * 40):
        assert not is_address(text)


def test_times_are_milliseconds_rounded_down() -> None:
    """Times are whole milliseconds in UTC; before 1970 they are negative."""
    assert milliseconds("1970-01-01T00:00:00.000999Z") == 0
    assert milliseconds("1969-12-31T23:59:59.999000Z") == -1
    assert milliseconds("2026-11-20T10:31:01.130999Z") == 1795170661130
    assert datetime.fromtimestamp(1795170661130 / 1000, UTC).isoformat() == "2026-11-20T10:31:01.130000+00:00"
    for value in (None, 7, "", "yesterday", "2026-11-20T10:31:01", "0001-01-01T00:00:00+23:59"):
        assert milliseconds_or_none(value) is None or isinstance(value, str)
    assert milliseconds_or_none("2026-11-20T10:31:01") is None
    assert milliseconds_or_none("1970-01-01T00:00:01+00:00") == 1000
