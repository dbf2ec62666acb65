"""Tell whether every name a product publishes has an entry.

Two checks. Always possible: the names of a product's entries, without its `additional` ones, must have the
count and the digest of the published list that stand in its TOML file. With the published list at hand:
which names are missing and which are too many.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from msgspec import Struct

from tallystick.catalogue.load import catalogue
from tallystick.catalogue.model import Product, Published

NAMES_SHOWN_MAX = 10


class CoverageRow(Struct, frozen=True):
    """How complete one product's part of the catalogue is.

    `published` is the size of the published list, `covered` how many of the published names have an entry
    (None when only the digest is known and it does not match: then it cannot be told which are missing).
    `missing` and `surplus` are filled only when the published list itself was given.
    """

    product: str
    title: str
    published: int
    covered: int | None
    additional: int
    missing: tuple[str, ...]
    surplus: tuple[str, ...]
    is_complete: bool

    def sentence(self) -> str:
        """Say in words how complete the product is."""
        if self.is_complete:
            return f"{self.title}: all {self.published} published names have an entry"
        if not self.missing and not self.surplus:
            return f"{self.title}: the entries are not the {self.published} published names; compare with the list"
        parts = []
        if self.missing:
            parts.append(f"missing: {_shown(self.missing)}")
        if self.surplus:
            parts.append(f"neither published nor in `additional`: {_shown(self.surplus)}")
        return f"{self.title}: {'; '.join(parts)}"


def names_digest(names: Iterable[str]) -> str:
    """Return the SHA-256, in hex, of the sorted names joined by newlines."""
    return sha256("\n".join(sorted(names)).encode()).hexdigest()


def coverage(
    products: Mapping[str, Product] | None = None, published: Mapping[str, Iterable[str]] | None = None
) -> list[CoverageRow]:
    """Return one row for each product that publishes a list; by default of the catalogue in the package.

    `published` gives the published names of some or all products; a product without one is checked
    against the count and the digest in its file.
    """
    products = catalogue() if products is None else products
    published = {} if published is None else published
    rows = []
    for name, product in products.items():
        if name in published:
            rows.append(_compare(product, frozenset(published[name])))
        elif product.published is not None:
            rows.append(_check_digest(product, product.published))
    return rows


def _check_digest(product: Product, published: Published) -> CoverageRow:
    claimed = product.actions.keys() - product.additional
    same = len(claimed) == published.count and names_digest(claimed) == published.sha256
    return CoverageRow(
        product=product.name,
        title=product.title,
        published=published.count,
        covered=published.count if same else None,
        additional=len(product.additional),
        missing=(),
        surplus=(),
        is_complete=same,
    )


def _compare(product: Product, published: frozenset[str]) -> CoverageRow:
    missing = tuple(sorted(published - product.actions.keys()))
    surplus = tuple(sorted(product.actions.keys() - published - product.additional))
    return CoverageRow(
        product=product.name,
        title=product.title,
        published=len(published),
        covered=len(published) - len(missing),
        additional=len(product.additional),
        missing=missing,
        surplus=surplus,
        is_complete=not missing and not surplus,
    )


def _shown(names: tuple[str, ...]) -> str:
    rest = len(names) - NAMES_SHOWN_MAX
    return ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {rest} more" if rest > 0 else "")
