"""How long events are kept: retention, legal holds, erasure, and the second person that some of it needs.

`rules` decides, `door` appends a record and what it records in one transaction, the other files are the acts.
"""
