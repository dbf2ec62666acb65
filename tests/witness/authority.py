"""A real time stamp authority for the tests: OpenSSL's."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """A real time stamp authority: OpenSSL's, with a root and a certificate of its own, behind HTTP."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "tsa.cnf").write_text(
            "[tsa]\ndefault_tsa=one\n[one]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\n"
            "digests=sha256,sha512\naccuracy=secs:1\nordering=yes\ntsa_name=no\ness_cert_id_chain=no\ness_cert_id_alg=sha256\n"
            "[req]\ndistinguished_name=dn\n[dn]\n[root]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
            "subjectKeyIdentifier=hash\n[leaf]\nbasicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n"
            "extendedKeyUsage=critical,timeStamping\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        (folder / "serial").write_text("01\n")
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "tsa.cnf"]
        self.run(
            "req",
            "-x509",
            *new,
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
            "-days",
            "30",
            "-subj",
            "/CN=Root",
            "-extensions",
            "root",
        )
        self.run("req", *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=TSA")
        self.run("x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30",
                 "-extfile", "tsa.cnf", "-extensions", "leaf", "-out", "tsa.pem")  # fmt: skip
        self.run("x509", "-in", "root.pem", "-outform", "DER", "-out", "root.der")
        self.certificate = (folder / "root.der").read_bytes()

    def run(self, *arguments: str) -> None:
        done = subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr

    def answer(self, query: bytes) -> tuple[int, str, bytes]:
        (self.folder / "query").write_bytes(query)
        self.run("ts", "-reply", "-config", "tsa.cnf", "-section", "one", "-queryfile", "query", "-signer", "tsa.pem",
                 "-inkey", "tsa.key", "-out", "answer")  # fmt: skip
        return 200, "application/timestamp-reply", (self.folder / "answer").read_bytes()
