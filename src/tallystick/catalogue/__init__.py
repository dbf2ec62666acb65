"""What known products log: titles, verb classes, target types and OCSF places of their action names.

Pure: the data ships with the package and is read once; nothing here looks at a clock, a socket or a setting.
Ask `describe` about any action name, known or not; `lookup` when only the decided entries count.
"""

from __future__ import annotations

from tallystick.catalogue.coverage import CoverageRow, coverage
from tallystick.catalogue.describe import describe, describe_by_words, lookup, products_with, verb_of
from tallystick.catalogue.kinds import ACTIVITIES, CLASS_NAMES
from tallystick.catalogue.lint import Finding, lint
from tallystick.catalogue.load import catalogue, target_types
from tallystick.catalogue.model import (
    PRODUCTS,
    SENSITIVITIES,
    VERBS,
    ActionInfo,
    KnownAction,
    Product,
    Sensitivity,
    TargetType,
    Verb,
)
from tallystick.catalogue.products import (
    mistral_target_type,
    mistral_target_types,
    neutral_target_types,
    operations,
)

__all__ = [
    "ACTIVITIES",
    "CLASS_NAMES",
    "PRODUCTS",
    "SENSITIVITIES",
    "VERBS",
    "ActionInfo",
    "CoverageRow",
    "Finding",
    "KnownAction",
    "Product",
    "Sensitivity",
    "TargetType",
    "Verb",
    "catalogue",
    "coverage",
    "describe",
    "describe_by_words",
    "lint",
    "lookup",
    "mistral_target_type",
    "mistral_target_types",
    "neutral_target_types",
    "operations",
    "products_with",
    "target_types",
    "verb_of",
]
