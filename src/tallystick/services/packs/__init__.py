"""Evidence packs: what a standard's controls ask, declared as data, and answered from this installation's own log.

One TOML file for each standard. A control names its query and its checks (`checks.py`); what a log cannot show for it is
part of its declaration, so that no report is silent about it.
"""
