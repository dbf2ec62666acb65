"""Times as producers write them: RFC 3339 with an offset, or refused; the instant is never guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.errors import Refused
from tallystick.event.moment import instant_text, read_instant


@pytest.mark.parametrize(
    ("text", "stored", "flag"),
    [
        ("2026-06-01T12:00:00Z", "2026-06-01T12:00:00.000000Z", ""),
        ("2026-06-01T12:00:00.1Z", "2026-06-01T12:00:00.100000Z", ""),
        ("2026-06-01T12:00:00.123Z", "2026-06-01T12:00:00.123000Z", ""),
        ("2026-06-01T12:00:00.123456Z", "2026-06-01T12:00:00.123456Z", ""),
        ("2026-06-01t12:00:00.123z", "2026-06-01T12:00:00.123000Z", ""),
        ("2026-06-01T12:00:00.123456000Z", "2026-06-01T12:00:00.123456Z", ""),
        ("2026-06-01T12:00:00.123456789Z", "2026-06-01T12:00:00.123456Z", "time_precision"),
        ("2026-06-01T12:00:00.9999999Z", "2026-06-01T12:00:00.999999Z", "time_precision"),
        ("2026-06-01T12:00:00." + "1" * 64 + "Z", "2026-06-01T12:00:00.111111Z", "time_precision"),
        ("2026-06-01T12:00:00+00:00", "2026-06-01T12:00:00.000000Z", ""),
        ("2026-06-01T12:00:00-00:00", "2026-06-01T12:00:00.000000Z", ""),
        ("2026-06-01T12:00:00+02:00", "2026-06-01T10:00:00.000000Z", ""),
        ("2026-06-01T00:30:00+05:45", "2026-05-31T18:45:00.000000Z", ""),
        ("2026-06-01T12:00:00-23:59", "2026-06-02T11:59:00.000000Z", ""),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z", ""),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z", ""),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z", ""),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z", ""),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z", "leap_second"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000Z", "leap_second"),
        ("2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00.000000Z", "leap_second"),
    ],
)
def test_times_that_are_taken(text: str, stored: str, flag: str) -> None:
    """Every spelling of RFC 3339 names one instant, stored in one form."""
    moment, written, kind = read_instant(text)
    assert (written, kind) == (stored, flag)
    assert moment.tzinfo is UTC
    assert instant_text(moment) == stored


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "yesterday", "infinity", "-infinity", "1717243200", "2026-06-01", "2026-06-01T12:00Z", "12:00:00Z",
        "2026-06-01T12:00:00", "2026-06-01 12:00:00Z", "2026-06-01T12:00:00 Z", "2026-06-01T12:00:00+02", "20260601T120000Z",
        "2026-06-01T12:00:00+0200", "2026-W23-1T12:00:00Z", "2026-152T12:00:00Z", "2026-06-01T12:00:00,5Z",
        "2026-06-01T12:00:00.Z", "2026-06-01T12:00:00+99:00", "2026-06-01T12:00:00+24:00", "2026-06-01T12:00:00+00:60",
        "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2025-02-29T00:00:00Z", "2026-06-00T00:00:00Z", "0000-01-01T00:00:00Z",
        "2026-06-01T24:00:00Z", "2026-06-01T25:00:00Z", "2026-06-01T12:60:00Z", "2026-06-01T12:00:61Z", "2026-06-01T12:00:60Z",
        "2016-12-31T23:59:60+01:00", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:60Z",
        "294276-12-31T23:59:59Z", "-2026-06-01T12:00:00Z", "+002026-06-01T12:00:00Z", "2026-06-01T12:00:00Z\n", " 2026-06-01T12:00:00Z",
        "٢٠٢٦-06-01T12:00:00Z", "2026-06-01T12:00:00.１Z", "2026−06−01T12:00:00Z", "2026-06-01T12:00:00." + "1" * 65 + "Z",
        "2026-06-01T12:00:00Z; DROP TABLE x", "2026-06-01T12:00:00UTC", "2026-06-01T12:00:00[Europe/Paris]", "2026-6-1T12:00:00Z",
    ],
)  # fmt: skip
def test_times_that_are_refused(text: str) -> None:
    """A time that is no time, or in no zone, must be mended by its developer."""
    with pytest.raises(Refused) as caught:
        read_instant(text)
    assert (caught.value.path, caught.value.rule) == ("/occurred_at", "invalid_time")


@given(
    st.datetimes(
        timezones=st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
    ),
    st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_the_instant_is_kept(moment: datetime, precision: str) -> None:
    """Reading must give exactly the instant that was written, whatever its zone."""
    text = moment.isoformat(timespec=precision)
    try:
        expected = datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        return  # beyond the years 1 to 9999 in UTC: refused, see above
    assert read_instant(text)[0] == expected
