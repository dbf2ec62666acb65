"""The renderings whose every byte is pinned, and how to write them anew: `python -m tests.ocsf.golden`.

A change of these files is a change for every SIEM that reads us: say so in the changelog.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from tallystick.ocsf import langsmith_item, render

from .operations import OPERATIONS, TIED

FOLDER = Path(__file__).resolve().parent.parent / "golden" / "ocsf"

RENDERINGS = (
    ("01_api_key_create", "1.7.0", "default"),
    ("01_api_key_create", "1.1.0", "default"),
    ("02_api_key_delete_denied", "1.1.0", "default"),
    ("03_member_role_update", "1.7.0", "native"),
    ("03_member_role_update", "1.1.0", "native"),
    ("04_member_added", "1.7.0", "native"),
    ("06_sso_settings_update", "1.7.0", "native"),
    ("06_sso_settings_update", "1.1.0", "default"),
    ("07_login_sso", "1.1.0", "default"),
    ("11_bulk_export", "1.7.0", "native"),
    ("12_prompt_set_label", "1.1.0", "api_activity"),
    ("14_gateway_budget_created_system", "1.7.0", "default"),
    ("15_routing_policy_update", "1.7.0", "native"),
    ("17_anomaly_alert", "1.7.0", "native"),
    ("18_scim_user_disable", "1.1.0", "native"),
    ("19_audit_log_export", "1.7.0", "native"),
)
LANGSMITH = "20_langsmith_view_create_api_key"


def golden() -> dict[str, bytes]:
    """Return what each golden file has to hold."""
    files = {
        f"{name}.{version}.{view}.json": render(OPERATIONS[name], version=version, view=view, **TIED)
        for name, version, view in RENDERINGS
    }
    files[f"{LANGSMITH}.langsmith.json"] = langsmith_item(OPERATIONS[LANGSMITH], **TIED)
    return {
        name: msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        for name, value in files.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in golden().items():
        (FOLDER / name).write_bytes(content)
