"""The declarations of the catalogue: what is known about the name of an action.

Everything else in this room reads these. They are frozen values; nobody outside the room builds them.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

Verb = Literal["create", "read", "update", "delete", "auth", "access", "admin"]
Sensitivity = Literal["normal", "credential", "membership", "security", "data-export", "breach"]
Family = Literal[
    "resource", "credential", "account", "membership", "invitation", "grant", "group", "configuration",
    "container", "share", "session", "export", "log", "finding",
]  # fmt: skip

VERBS: tuple[Verb, ...] = get_args(Verb)
SENSITIVITIES: tuple[Sensitivity, ...] = get_args(Sensitivity)
FAMILIES: tuple[Family, ...] = get_args(Family)

# The products whose names are known, in the order in which `lookup` asks them: our own names first, because
# we emit them ourselves; then by how closely the product's names follow its own API.
PRODUCTS = ("tallystick", "langsmith", "langfuse", "langwatch", "mistral", "openai", "anthropic")


class TargetType(Struct, frozen=True):
    """A neutral kind of thing that can be acted on, the same word whichever product logged the act."""

    name: str
    label: str
    family: Family
    sensitivity: Sensitivity
    mistral: str | None
    also_called: tuple[str, ...]


class KnownAction(Struct, frozen=True):
    """One entry of the catalogue: the decided truth about one name of one product.

    `class_uid` and `activity_id` place it in OCSF's native view, `api_activity_id` in the view where
    everything is 6003 API Activity. `sensitivity` is what it touches; the severity follows from it.
    """

    name: str
    product: str
    title: str
    verb: Verb
    target_type: str
    sensitivity: Sensitivity
    class_uid: int
    activity_id: int
    api_activity_id: int


class Published(Struct, frozen=True):
    """A product's published list of names: how many they are and their digest (see `coverage.names_digest`)."""

    count: int
    sha256: str


class Product(Struct, frozen=True):
    """One product's part of the catalogue with the claim its completeness is checked against.

    `published` is None for our own actions: nobody else publishes a list of them. `additional` are names we
    know besides the published list.
    """

    name: str
    title: str
    published: Published | None
    additional: frozenset[str]
    actions: dict[str, KnownAction]


class ActionInfo(Struct, frozen=True):
    """What can be said about any action name, known or not.

    `products` are the products that have this name in their list, in the order of `PRODUCTS`; empty for a
    name the catalogue does not know, whose other fields then come from the words of the name. `target_type`
    is None when no word of the name is a kind of thing we know.
    """

    name: str
    title: str
    verb: Verb
    target_type: str | None
    sensitivity: Sensitivity
    class_uid: int
    activity_id: int
    api_activity_id: int
    products: tuple[str, ...] = ()

    @property
    def is_known(self) -> bool:
        """Tell whether some product's list has this name."""
        return bool(self.products)
