"""OpenAI's contract, read by its real client and held against every event of the log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from contracts.conftest import Seeded
from contracts.seed import ACTIONS, START

PATH = "/v1/organization/audit_logs"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def real_client(seeded: Seeded, key: str | None = None) -> OpenAI:
    """Return OpenAI's own client, told our address."""
    key = key or seeded.key
    return OpenAI(api_key=key, admin_api_key=key, base_url=f"{seeded.server.url}/v1", max_retries=0)


def seconds(event: dict[str, Any]) -> int:
    """Return the whole seconds an event's time is shown in."""
    return (datetime.fromisoformat(event["occurred_at"]) - EPOCH) // timedelta(seconds=1)


def read_all(seeded: Seeded, **filters: Any) -> list[Any]:
    """Let the real client iterate over all pages."""
    return list(real_client(seeded).admin.organization.audit_logs.list(**filters))


@pytest.mark.parametrize("limit", [1, 13, 100])
def test_the_real_client_pages_by_itself(seeded: Seeded, limit: int) -> None:
    """A page that repeats or skips an event makes an auditor's copy wrong."""
    found = read_all(seeded, limit=limit)
    assert [one.id for one in found] == [one["id"] for one in seeded.newest_first()]


def test_every_field_is_parsed(seeded: Seeded) -> None:
    """What the client's types name must be where they look for it."""
    by_id = {one["id"]: one for one in seeded.events}
    for found in read_all(seeded, limit=100):
        event = by_id[found.id]
        assert (found.type, found.effective_at) == (event["action"], seconds(event))
        assert (found.project.id if found.project else None) == event.get("workspace")
        actor, sent = found.actor, event["actor"]
        if actor.type == "session":
            assert actor.session.user.id == sent.get("id")
            assert actor.session.user.email == sent.get("email")
            assert actor.session.ip_address == event.get("context", {}).get("ip")
        else:
            assert actor.type == "api_key"
            owner = actor.api_key.user or actor.api_key.service_account
            assert actor.api_key.type == ("user" if sent["type"] == "user" else "service_account")
            assert owner.id == sent["id"]
            assert sent["type"] != "user" or actor.api_key.id == sent["credential_id"]
        if event["action"] == "api_key.created" and event["targets"]:
            assert found.api_key_created.id == event["targets"][0]["id"]
        if event["action"] == "login.failed" and event["outcome"] == "success":
            assert found.login_failed is not None


def as_shown(event: dict[str, Any]) -> tuple[set[str], str]:
    """Return ids and e-mail that OpenAI's actor has, told from the event alone."""
    actor, context = event["actor"], event.get("context", {})
    ids = {actor["id"]} if "id" in actor else set()
    if actor["type"] == "user" and "credential_id" in actor and "session_id" not in context:
        ids.add(actor["credential_id"])
    return ids, actor.get("email", "").lower() if actor["type"] in ("user", "anonymous", "system") else ""


filters = st.fixed_dictionaries(
    {},
    optional={
        "event_types": st.lists(st.sampled_from([*ACTIONS, "no.such_type"]), min_size=1, max_size=4),
        "actor_ids": st.lists(
            st.sampled_from(["usr_ada", "usr_bob", "usr_key", "key_shared", 'cred "1" ü', "svc_1", "agent_1", "nobody"]),
            min_size=1, max_size=3,
        ),
        "actor_emails": st.lists(
            st.sampled_from(["ada@example.com", "BOB@example.com", "robert@example.com", "example.com", "x@y.z"]),
            min_size=1, max_size=2,
        ),
        "project_ids": st.lists(st.sampled_from(["ws_1", "ws_2", "ws_none", "-"]), min_size=1, max_size=2),
        "resource_ids": st.lists(st.sampled_from(["t_1", "t_3", "t_5", "ws_1", "none"]), min_size=1, max_size=2),
        "effective_at": st.dictionaries(
            st.sampled_from(["gt", "gte", "lt", "lte"]),
            st.sampled_from([int(START.timestamp()) + add for add in (-1, 0, 1, 2, 60, 61, 240, 500)]),
            max_size=3,
        ),
    },
)  # fmt: skip


def fits(event: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Tell whether OpenAI would show `event` for these filters."""
    ids, email = as_shown(event)
    at, window = seconds(event), asked.get("effective_at", {})
    return (
        event["action"] in asked.get("event_types", [event["action"]])
        and ("actor_ids" not in asked or bool(ids & set(asked["actor_ids"])))
        and ("actor_emails" not in asked or email in {text.lower() for text in asked["actor_emails"]})
        and ("project_ids" not in asked or event.get("workspace") in asked["project_ids"])
        and (
            "resource_ids" not in asked
            or any(target["id"] in asked["resource_ids"] for target in event["targets"])
        )
        and at > window.get("gt", at - 1)
        and at >= window.get("gte", at)
        and at < window.get("lt", at + 1)
        and at <= window.get("lte", at)
    )


@settings(max_examples=50, deadline=None)
@given(asked=filters, limit=st.sampled_from([9, 100]))
def test_filters(seeded: Seeded, asked: dict[str, Any], limit: int) -> None:
    """A filter shows exactly the events whose rendering fits it, whoever recorded them."""
    expected = [one["id"] for one in seeded.newest_first() if fits(one, asked)]
    assert [one.id for one in read_all(seeded, limit=limit, **asked)] == expected


@pytest.mark.parametrize(
    "asked",
    [
        {"actor_ids": ["usr_ada"]},
        {"actor_ids": ["key_shared"]},
        {"actor_ids": ['cred "1" ü']},
        {"actor_ids": ["svc_1", "nobody"]},
        {"actor_emails": ["ada@example.com"]},
        {"actor_emails": ["BOB@example.com", "robert@example.com"]},
        {"resource_ids": ["t_5"]},
        {"project_ids": ["ws_1"]},
    ],
)
def test_each_filter_alone(seeded: Seeded, asked: dict[str, Any]) -> None:
    """Ids name people, services, keys and credentials alike; each finds some events and not all of them."""
    expected = [one["id"] for one in seeded.newest_first() if fits(one, asked)]
    assert 0 < len(expected) < len(seeded.events)
    assert [one.id for one in read_all(seeded, limit=7, **asked)] == expected


def test_before_leads_back(seeded: Seeded) -> None:
    """Going back must show the very page one came from."""
    order = [one["id"] for one in seeded.newest_first()]
    client = real_client(seeded).admin.organization.audit_logs
    page = client.list(limit=10, before=order[30])
    assert [one.id for one in page.data] == order[20:30]
    assert page.has_more
    first = client.list(limit=10, before=order[4])
    assert ([one.id for one in first.data], first.has_more) == (order[:4], False)


def test_page_fields(seeded: Seeded) -> None:
    """Scripts without a client page by these."""
    page = seeded.get(PATH, {"limit": 2}).json()
    assert set(page) == {"object", "data", "first_id", "last_id", "has_more"}
    assert (page["object"], page["has_more"]) == ("list", True)
    assert [page["first_id"], page["last_id"]] == [one["id"] for one in page["data"]]
    empty = seeded.get(PATH, {"project_ids[]": "none"}).json()
    assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("name", ["event_types[]", "event_types", "event_types%5B%5D", "event_types[0]"])
def test_both_spellings_of_lists(seeded: Seeded, name: str) -> None:
    """Brackets are written by some clients and not by others; a filter that is not seen would show everything."""
    answer = seeded.get(f"{PATH}?{name}=user.added&{name}=api_key.created&limit=100").json()
    assert {one["type"] for one in answer["data"]} == {"user.added", "api_key.created"}


def test_tenant_only(seeded: Seeded) -> None:
    """Only what is scoped to the tenant, and a type that is not is refused."""
    found = read_all(seeded, tenant_only=True)
    assert {one.type for one in found} == {"tenant.user.invited", "role.bound_to_resource"}
    with pytest.raises(openai.BadRequestError):
        read_all(seeded, tenant_only=True, event_types=["user.added"])
    assert len(read_all(seeded, tenant_only=False, limit=100)) == len(seeded.events)


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"after": "nothing"}, "after"),
        ({"after": "00000000-0000-4000-8000-000000000000"}, "after"),
        ({"after": "\x00"}, "after"),
        ({"effective_at[gt]": "today"}, "effective_at.gt"),
        ({"effective_at[above]": "1"}, "effective_at[above]"),
        ({"event_type[]": "user.added"}, "event_type[]"),
        ({"actor_ids[]": ""}, "actor_ids"),
        ({"tenant_only": "maybe"}, "tenant_only"),
    ],
)
def test_bad_parameters(seeded: Seeded, params: dict[str, Any], param: str) -> None:
    """A parameter that cannot be used is refused in OpenAI's shape and never ignored."""
    answer = seeded.get(PATH, params)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


def test_both_directions_at_once(seeded: Seeded) -> None:
    """Two places to begin at are a mistake."""
    order = [one["id"] for one in seeded.newest_first()]
    assert seeded.get(PATH, {"after": order[0], "before": order[5]}).status_code == 400


def test_ids_of_others(seeded: Seeded) -> None:
    """An id of another organization's event is no place to begin at, and shows nothing of it."""
    mine = seeded.events[0]["id"]
    with pytest.raises(openai.BadRequestError) as caught:
        real_client(seeded, seeded.other_key).admin.organization.audit_logs.list(after=mine)
    assert caught.value.param == "after"
    assert mine not in str(caught.value)


def test_ids_of_another_workspace(seeded: Seeded) -> None:
    """A key bound to a workspace pages by the events of that workspace and by no others."""
    key = seeded.server.key("auditLogs:read", workspace="ws_2")
    inside = [one["id"] for one in seeded.newest_first() if one.get("workspace") == "ws_2"]
    outside = next(one["id"] for one in seeded.events if one.get("workspace") == "ws_1")
    client = real_client(seeded, key).admin.organization.audit_logs
    assert [one.id for one in client.list(limit=7)] == inside
    assert [one.id for one in client.list(limit=7, actor_ids=["key_shared", "nobody"])] == [
        one["id"] for one in seeded.newest_first() if one["id"] in inside and "key_shared" in as_shown(one)[0]
    ]
    with pytest.raises(openai.BadRequestError):
        client.list(after=outside)


def test_errors_as_the_client_knows_them(seeded: Seeded) -> None:
    """A script that handles OpenAI's errors must see the same ones."""
    with pytest.raises(openai.AuthenticationError) as caught:
        real_client(seeded, "tst_wrong").admin.organization.audit_logs.list()
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError):
        real_client(seeded, seeded.server.write_key).admin.organization.audit_logs.list()
