"""Events as OCSF 1.7.0 and 1.1.0: tables, not branches; pure values in, pure values out."""

from tallystick.ocsf.dialect import Version, View
from tallystick.ocsf.langsmith import langsmith_item
from tallystick.ocsf.render import render
from tallystick.ocsf.tie import VIEWS, agrees, leaf_hash_of

__all__ = ["VIEWS", "Version", "View", "agrees", "langsmith_item", "leaf_hash_of", "render"]
