"""From a rendering back to its leaf: how an OCSF file is verified.

Every rendering says which leaf it was made from: the log (`metadata.log_name`), the position
(`metadata.sequence`) and the leaf hash (`raw_data_hash` in 1.7.0, `unmapped.leaf_hash` in 1.1.0). With the
log's tiles, a proof or a receipt, position and hash prove that this very event is in the log. With the leaf
and its opening as well, `agrees` proves that the rendering says what the leaf says.
"""

from __future__ import annotations

import re
from typing import Any, get_args

from tallystick.errors import Refused
from tallystick.ocsf.dialect import DIALECTS, View
from tallystick.ocsf.render import LEAF_HASH, SHA_256, render

VIEWS: tuple[View, ...] = get_args(View)

_HASH = re.compile(r"[0-9a-f]{64}")


def leaf_hash_of(rendered: dict[str, Any]) -> tuple[int, bytes]:
    """Return position and RFC 6962 leaf hash (32 bytes) of the leaf that an OCSF event was rendered from.

    Raises Refused when the event was not rendered by Tallystick or lost what ties it to its leaf.
    """
    metadata = rendered.get("metadata")
    position = metadata.get("sequence") if isinstance(metadata, dict) else None
    if type(position) is not int or position < 0:
        raise Refused(
            "this OCSF event has no position: metadata.sequence must be a whole number from 0",
            path="/metadata/sequence",
            rule="no_position",
        )
    return position, _leaf_hash(rendered)


def _leaf_hash(rendered: dict[str, Any]) -> bytes:
    digest, unmapped = rendered.get("raw_data_hash"), rendered.get("unmapped")
    if isinstance(digest, dict) and digest.get("algorithm_id") == SHA_256[0]:
        text, path = digest.get("value"), "/raw_data_hash/value"
    else:
        text, path = (
            (unmapped.get(LEAF_HASH) if isinstance(unmapped, dict) else None),
            f"/unmapped/{LEAF_HASH}",
        )
    if isinstance(text, str) and _HASH.fullmatch(text):
        return bytes.fromhex(text)
    raise Refused(
        f"this OCSF event has no leaf hash: {path[1:].replace('/', '.')} must be 64 hexadecimal digits",
        path=path,
        rule="no_leaf_hash",
    )


def agrees(rendered: dict[str, Any], event: dict[str, Any], leaf_hash: bytes) -> bool:
    """Tell whether `rendered` is exactly what `event` and its leaf hash render to, in one of the views.

    The version of the schema, the log's name and the product's version are taken from `rendered` itself.
    An event that is no longer complete (values erased since) does not agree with its older rendering.
    """
    metadata = rendered.get("metadata")
    product = metadata.get("product") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(product, dict):
        return False
    version, log_name, made_by = metadata.get("version"), metadata.get("log_name"), product.get("version")
    if version not in DIALECTS or not isinstance(log_name, str) or not isinstance(made_by, str):
        return False
    return any(
        rendered
        == render(
            event, version=version, view=view, leaf_hash=leaf_hash, log_name=log_name, product_version=made_by
        )
        for view in VIEWS
    )
