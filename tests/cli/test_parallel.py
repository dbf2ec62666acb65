"""Verifying on several cores finds what one core finds, and goes on when a worker is ended."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from tallystick import __version__
from tallystick.cli.parallel import spread_over_cores
from tallystick.services.renderings import writer_of
from tallystick.verify.beside import Beside, RenderedText
from tallystick.verify.export import verify_export
from tallystick.verify.layout import ProofHeader, Rendering
from verify.peer import CLOCK, SIGNER, PeerLog

KEYS = (SIGNER.verifier, CLOCK.verifier)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is one core")
def test_it_says_what_one_core_says() -> None:
    """A block checked elsewhere would be lost, moved or believed; or a killed worker would end the check."""
    file, proof = PeerLog.of(400).pair(Rendering("csv", __version__))
    pieces = [proof[at : at + 8192] for at in range(0, len(proof), 8192)]
    edited = [piece.replace(b'"outcome":"denied"', b'"outcome":"failed"', 1) for piece in pieces]

    def opened(header: ProofHeader) -> Beside:
        writer = writer_of(header.rendering, header.origin)
        return RenderedText([file], writer.head, writer.write)

    with spread_over_cores(1, worth=0) as spread:
        for given in (pieces, edited):
            assert verify_export(
                given, keys=KEYS, spread=spread, beside=opened, release=__version__
            ) == verify_export(given, keys=KEYS, beside=opened, release=__version__)
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        assert verify_export([*pieces], keys=KEYS, spread=spread).verdict == "proven"
    with spread_over_cores(1000) as spread:
        assert spread is None
