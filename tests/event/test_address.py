"""IP addresses: one text for one address, ports taken off, everything else kept raw and not indexed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.event.address import indexed_ip, read_ip

from .making import changed, prepared, shown


@pytest.mark.parametrize(
    ("text", "stored", "port"),
    [
        ("192.0.2.1", "192.0.2.1", ""),
        (" 192.0.2.1 ", "192.0.2.1", ""),
        ("2001:DB8:0:0::1", "2001:db8::1", ""),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1", ""),
        ("::ffff:192.0.2.1", "192.0.2.1", ""),
        ("::FFFF:c000:201", "192.0.2.1", ""),
        ("::", "::", ""),
        ("::1", "::1", ""),
        ("fe80::1%eth0", "fe80::1%eth0", ""),
        ("FE80::1%1", "fe80::1%1", ""),
        ("192.0.2.1:443", "192.0.2.1", ":443"),
        ("[2001:db8::1]:443", "2001:db8::1", ":443"),
        ("[2001:db8::1]", "2001:db8::1", ""),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1", ":80"),
        ("[fe80::1%eth0]:22", "fe80::1%eth0", ":22"),
        ("0.0.0.0", "0.0.0.0", ""),
    ],
)
def test_addresses(text: str, stored: str, port: str) -> None:
    """A search for an address must find it however the producer spelt it."""
    assert read_ip(text) == (stored, port)
    assert indexed_ip(stored) == stored
    event = shown(changed("/context/ip", text))
    assert event["context"]["ip"] == stored
    assert event.get("flags", []) == (
        [{"path": "/context/ip", "kind": "ip_port", "dropped": port}] if port else []
    )
    assert prepared(changed("/context/ip", text)).ip == stored


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "unknown", "localhost", "192.0.2", "192.0.2.256", "192.0.2.1.1", "192.0.2.01", "0x7f.1", "2130706433", "192.0.2.0/24",
        "2001:db8::/32", "192.0.2.1, 198.51.100.7", "192.0.2.1;x", "192.0.2.1:", "192.0.2.1:99999", "192.0.2.1:-1",
        "[192.0.2.1", "2001:db8::1]:443", "[2001:db8::1]443", "1::2::3", "12345::", ":::", "fe80::1%", "fe80::1%<script>",
        "fe80::1%" + "z" * 33, "<script>", "../../etc/passwd", "١٩٢.0.2.1", "192。0。2。1", "192.0.2.1\n", "192.0.2.1\nX: y"[:0] + "a b",
        "::ffff:192.0.2.1.5", "x" * 200, "1.2.3.4\u200b", "for=192.0.2.1",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    """A header an attacker controls must neither refuse the record nor enter the index."""
    if read_ip(text)[0]:
        assert text.strip() != text, "only white space around an address is forgiven"
        return
    event = shown(changed("/context/ip", text))
    assert event["context"]["ip"] == text
    assert {flag["kind"] for flag in event["flags"]} == {"ip_invalid"}
    assert prepared(changed("/context/ip", text)).ip == ""


@given(st.ip_addresses())
def test_every_address_is_stable(address: object) -> None:
    """The canonical text of an address must be its own canonical text, or columns would not verify."""
    stored, port = read_ip(str(address))
    assert stored
    assert port == ""
    assert read_ip(stored) == (stored, "")


@pytest.mark.parametrize("value", [None, 5, {"$redacted": "x"}, ["192.0.2.1"], "192.0.2.1:80", " 192.0.2.1"])
def test_only_canonical_text_is_indexed(value: object) -> None:
    """Whatever stands in a stored row, the column is either a canonical address or empty."""
    assert indexed_ip(value) == ""
