"""What this service knows of users and groups in SCIM's words, and how rows are written and read in them.

Directories send more than is kept here: what no attribute below takes is left out, as RFC 7644 (3.3) allows, and the
usual ways of saying things that the RFC does not know (Entra's) are understood.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, TypeVar

from pydantic import Field
from scim2_models import (
    URN,
    AuthenticationScheme,
    Bulk,
    CaseExact,
    ChangePassword,
    ComplexAttribute,
    Context,
    ETag,
    Filter,
    Meta,
    Mutability,
    Pagination,
    Patch,
    Reference,
    Required,
    Resource,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)

from tallystick.errors import Refused
from tallystick.services.people.directory import PAGE_MAX, UserRow, Wanted
from tallystick.services.people.groups import GroupRow, WantedGroup
from tallystick.services.sign_in.sign_in import fold_email

BASE = "/scim/v2"
R = TypeVar("R", bound="User | Group")


class Name(ComplexAttribute):
    """The components of a person's name."""

    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None


class Email(ComplexAttribute):
    """An e-mail address; the primary one, else that of work, else the first is the member's."""

    value: str | None = None
    type: str | None = None
    primary: bool | None = None


class GroupOfUser(ComplexAttribute):
    """A group the user is in; changed at the group."""

    value: Annotated[str | None, Mutability.read_only, CaseExact.true] = None
    ref: Annotated[Reference[Group] | None, Mutability.read_only] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )
    display: Annotated[str | None, Mutability.read_only] = None


class User(Resource[Any]):
    """A member of the organization."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    name: Name | None = None
    display_name: str | None = None
    active: bool | None = None
    emails: list[Email] | None = None
    groups: Annotated[list[GroupOfUser] | None, Mutability.read_only] = None


class Member(ComplexAttribute):
    """Somebody in a group."""

    value: Annotated[str | None, Mutability.immutable, CaseExact.true] = None
    ref: Annotated[Reference[User] | None, Mutability.immutable] = Field(
        None, serialization_alias="$ref", validation_alias="$ref"
    )


class Group(Resource[Any]):
    """A set of members; what role goes with it is set here, by people with the right to."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Uniqueness.server, Required.true] = None
    members: list[Member] | None = None


# Their references to each other are known only now; until then a filter would find no attribute.
for _model in (GroupOfUser, Member, User, Group):
    _model.model_rebuild()

POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
CONFIG = ServiceProviderConfig(
    patch=Patch(supported=True),
    bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
    filter=Filter(supported=True, max_results=PAGE_MAX),
    change_password=ChangePassword(supported=False),
    sort=Sort(supported=False),
    etag=ETag(supported=True),
    pagination=Pagination(
        cursor=False, index=True, default_pagination_method=Pagination.DefaultPaginationMethod.index, default_page_size=100, max_page_size=PAGE_MAX
    ),
    authentication_schemes=[
        AuthenticationScheme(
            type=AuthenticationScheme.Type.oauthbearertoken,
            name="API key",
            description="Authorization: Bearer, with an API key that holds members:manage",
            primary=True,
        )
    ],
    meta=Meta(resource_type="ServiceProviderConfig", location=f"{BASE}/ServiceProviderConfig"),
)  # fmt: skip
PROVIDER = ScimProvider(models=[User, Group], config=CONFIG, policy=POLICY)


def render_user(row: UserRow, base: str) -> User:
    """Return a member as SCIM writes it; what was changed here since the directory said it shows as it is now."""
    said = row.attributes
    user = User(user_name=row.user_name) if said is None else User.model_validate(said, scim_policy=POLICY)
    if said is None or _display_name(user) != row.display_name:
        user.display_name = row.display_name
    if said is None or _email(user) != row.email:
        user.emails = [Email(value=row.email, type="work", primary=True)]
    if said is None or _is_active(user) != row.active:
        user.active = row.active
    user.id, user.external_id = row.id, row.external_id
    user.groups = [
        GroupOfUser(value=id, display=name, ref=Reference(f"{base}/Groups/{id}")) for id, name in row.groups
    ] or None
    user.meta = Meta(
        resource_type="User", created=row.created_at, last_modified=row.updated_at, location=f"{base}/Users/{row.id}"
    )  # fmt: skip
    user.meta.version = version_of(user)
    return user


def render_group(row: GroupRow, base: str) -> Group:
    """Return a group as SCIM writes it."""
    group = Group(
        id=row.id,
        display_name=row.display_name,
        external_id=row.external_id,
        members=[Member(value=id, ref=Reference(f"{base}/Users/{id}")) for id, _ in row.members] or None,
        meta=Meta(
            resource_type="Group", created=row.created_at, last_modified=row.updated_at,
            location=f"{base}/Groups/{row.id}",
        ),
    )  # fmt: skip
    assert group.meta is not None
    group.meta.version = version_of(group)
    return group


def version_of(resource: User | Group) -> str:
    """Return the entity tag of a resource: weak, being of what it says and not of how it is written."""
    content = resource.model_dump(scim_ctx=Context.RESOURCE_QUERY_RESPONSE)
    # Where it was asked for is no part of what it says.
    content.pop("meta", None)
    for part in ("members", "groups"):
        content[part] = [one.get("value") for one in content.get(part) or ()]
    said = json.dumps(content, sort_keys=True, default=str).encode()
    return f'W/"{hashlib.sha256(said).hexdigest()[:32]}"'


def wanted_user(user: User) -> Wanted:
    """Return what a directory wants a member to be; raises Refused without a user name."""
    if not user.user_name:
        raise Refused("A user has a userName.", path="/userName", rule="value")
    kept = User(
        user_name=user.user_name, name=user.name, display_name=user.display_name, active=user.active,
        emails=user.emails,
    )  # fmt: skip
    attributes = kept.model_dump()
    return Wanted(
        user_name=user.user_name,
        external_id=user.external_id,
        email=_email(user),
        display_name=_display_name(user),
        active=_is_active(user),
        attributes=attributes,
    )


def wanted_group(group: Group) -> WantedGroup:
    """Return what a directory wants a group to be; raises Refused without a name, or for a member without an id."""
    if not group.display_name:
        raise Refused("A group has a displayName.", path="/displayName", rule="value")
    ids = [member.value for member in group.members or ()]
    if None in ids:
        raise Refused(
            "A group's members are named by value, which is a user's id.", path="/members", rule="value"
        )
    return WantedGroup(
        display_name=group.display_name,
        external_id=group.external_id,
        members=tuple(id for id in ids if id is not None),
    )


def _email(user: User) -> str:
    """Return the one address a member has here; a directory that tells none leaves the user name in its place."""
    emails = [one for one in user.emails or () if one.value]
    for fits in (lambda one: one.primary, lambda one: (one.type or "").lower() == "work", lambda one: True):
        for one in emails:
            if fits(one):
                return fold_email(one.value or "")
    return fold_email(user.user_name or "")


def _display_name(user: User) -> str:
    name = user.name
    parts = () if name is None else (name.given_name, name.family_name)
    together = " ".join(part for part in parts if part)
    found = user.display_name or (name.formatted if name else None) or together or user.user_name or ""
    return found.strip()


def _is_active(user: User) -> bool:
    return user.active is not False
