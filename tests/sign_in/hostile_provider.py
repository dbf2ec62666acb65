"""An identity provider of our own that follows the rules, until a test has it break one."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "tallystick", "s3cret"


class HostileProvider:
    """Serves discovery, keys, tokens and userinfo on a port of its own.

    `claims` changes the claims of an ID token, `sign` replaces how it is signed, `answers` replaces whole answers by
    path. Without them everything is as it should be, PKCE and single use of codes included.
    """

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.reset()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                self._answer({name: values[0] for name, values in parse_qs(body).items()})

            def _answer(self, form: dict[str, str]) -> None:
                status, headers, body = provider.answer(urlsplit(self.path).path, form, dict(self.headers))
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Follow the rules again."""
        self.claims: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.sign: Callable[[dict[str, Any]], str] = self.sign_well
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.person: dict[str, Any] = {
            "sub": "sub-1",
            "email": "one@example.com",
            "email_verified": True,
            "name": "One",
        }
        self.asked: list[str] = []
        self.accepts_twice = False
        self._codes: dict[str, dict[str, str]] = {}

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def consent(self, address: str) -> str:
        """Do what a person does at the provider; return the query of the way back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return urlencode({"code": code, "state": asked["state"]})

    def sign_well(self, claims: dict[str, Any]) -> str:
        """Sign with the key that is published."""
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key, algorithms=["RS256"])

    def answer(
        self, path: str, form: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a request."""
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return self._json(self.metadata())
            case "/jwks":
                return self._json({"keys": [self.key.as_dict(private=False)]})
            case "/token":
                return self._token(form, headers)
            case "/userinfo":
                return self._json({"sub": self.person["sub"]})
            case _:
                return 404, {}, b"{}"

    def metadata(self) -> dict[str, Any]:
        """Return what the provider says about itself."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/jwks",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
        }

    def _token(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        wanted = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        asked = self._codes.get(form["code"]) if self.accepts_twice else self._codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or headers.get("Authorization") != wanted
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge.rstrip(b"=").decode() != asked["code_challenge"]
        ):
            return self._json({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"], **self.person,
        }  # fmt: skip
        token = self.sign(self.claims(claims))
        return self._json(
            {"access_token": "at", "token_type": "Bearer", "id_token": token, "expires_in": 300}
        )

    @staticmethod
    def _json(value: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
        return status, {}, json.dumps(value).encode()
