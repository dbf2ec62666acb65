"""Checking a log from the outside: exports, receipts, database dumps and live databases.

Pure: bytes and rows go in, a `Report` comes out. It says separately what is proven, what could not be proven
and what is violated. `export` and `receipt` check single files, `log` the rows of a database, `file` tells
them apart.
"""
