"""RFC 6962 trees and the C2SP formats around them: pure values, no clock, no storage, no network.

`tree` hashes, `append` grows a log by one batch, `proof` makes and checks proofs, `tile` and `bundle` are
the static layout, `note`, `checkpoint` and `tlog_proof` are the signed texts. DESIGN.md says what always holds.
"""
