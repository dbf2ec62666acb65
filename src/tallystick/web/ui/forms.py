"""Forms: small, of known fields, each sent once."""

from __future__ import annotations

from urllib.parse import parse_qsl

from tallystick.errors import Refused, TooLarge
from tallystick.web.body import require_type
from tallystick.web.call import Call

FORM_BYTES_MAX = 64 * 1024
FIELDS_MAX = 200
_TYPES = ("application/x-www-form-urlencoded",)


async def read_form(call: Call) -> dict[str, str]:
    """Return the fields of a form that was sent; an empty field is an empty text.

    Raises:
        Refused: another media type, bytes that are no UTF-8, a field sent twice, or over 200 of them.
        TooLarge: over 64 KiB.
    """
    fields: dict[str, str] = {}
    for name, value in await read_fields(call):
        if name in fields:
            raise Refused(f"The field {name[:40]!r} was sent twice. Nothing was changed.", rule="form")
        fields[name] = value
    return fields


async def read_fields(call: Call) -> list[tuple[str, str]]:
    """Return the fields in order, where a name may come several times; raises as `read_form`."""
    require_type(call, _TYPES)
    raw = await call.services.bodies.read(call)
    if len(raw) > FORM_BYTES_MAX:
        raise TooLarge("A form has at most 64 KiB. Nothing was changed.")
    try:
        return parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise Refused("This form cannot be read. Nothing was changed.", rule="form") from error


def field(fields: dict[str, str], name: str, characters_max: int) -> str:
    """Return one field within its limit, without space around it.

    Raises:
        Refused: it is missing, too long or holds control characters.
    """
    value = fields.get(name, "").strip()
    if not value or len(value) > characters_max or not value.isprintable():
        raise Refused(
            f"{name.replace('_', ' ').capitalize()} has 1 to {characters_max} characters, all of them printable.",
            path=f"/{name}",
            rule="form",
        )
    return value
