"""Which keys of an object hold secrets, by their name alone, in any spelling."""

from __future__ import annotations

import unicodedata
from typing import Final

_REMEMBERED_MAX: Final = 8192
_REMEMBERED_LENGTH_MAX: Final = 64  # characters; longer names are judged again each time

# What such a name ends with once case and separators are gone: `X-Api-Key`, `openai_api_key`, `apiKey`.
_ENDINGS: Final = (
    "password", "passwd", "passphrase", "passcode", "pwd", "passwort", "kennwort", "motdepasse", "contrasena",
    "contraseña", "senha", "wachtwoord", "пароль", "密码", "密碼", "パスワード", "비밀번호",
    "secret", "secrets", "token", "tokens", "jwt", "apikey", "apikeys", "accesskey", "secretkey", "privatekey",
    "privkey", "signingkey", "encryptionkey", "masterkey", "sharedkey", "accountkey", "authkey", "sshkey",
    "licensekey", "servicekey", "hmackey", "presharedkey", "sharedaccesskey", "accesskeys", "secretkeys",
    "privatekeys", "credential", "credentials", "authorization", "subscriptionkey", "functionskey", "cookie", "cookies",
    "connectionstring", "recoverycode", "recoverycodes", "backupcodes", "verificationcode", "authcode",
    "authorizationcode", "codeverifier", "clientassertion", "seedphrase", "mnemonic", "cardnumber",
    "creditcard", "securitycode",
)  # fmt: skip
_EXACT: Final = frozenset(
    {"pass", "pw", "psk", "otp", "totp", "pin", "cvv", "cvc", "cvv2", "pan", "bearer", "pem", "pincode", "ssn",
     "xauth", "creds", "phpsessid", "jsessionid", "sas"}
)  # fmt: skip
# A word about the form of the secret after its name does not make it less secret: `password_hash`.
_FORMS: Final = (
    "value", "values", "plaintext", "plain", "text", "raw", "hash", "hashed", "digest", "header", "base64",
    "b64", "encoded", "encrypted", "pem", "string", "json", "new", "old", "current", "previous", "confirmation",
    "confirm", "repeat",
)  # fmt: skip
# Tokens that language models count, or that mark a text or a page, open nothing.
_HARMLESS_TOKENS: Final = (
    "eostoken", "bostoken", "padtoken", "unktoken", "septoken", "clstoken", "masktoken", "stoptoken",
    "starttoken", "endtoken", "specialtoken", "pertoken", "pagetoken", "continuationtoken", "synctoken",
    "stoptokens", "specialtokens", "timetofirsttoken", "firsttoken", "nexttoken", "maxtoken", "logittoken",
    "addedtokens", "wordtokens",
)  # fmt: skip
_remembered: dict[str, bool] = {}


def is_secret_name(name: str) -> bool:
    """Tell whether a value under the key `name` is taken for a secret: password, X-Api-Key, openaiApiKey …

    `token_type`, `api_key_id`, `password_policy`, `cost_per_token` and the like are not secrets.
    """
    known = _remembered.get(name)
    if known is None:
        known = _judge(name)
        if len(name) <= _REMEMBERED_LENGTH_MAX:
            if len(_remembered) >= _REMEMBERED_MAX:
                _remembered.clear()
            _remembered[name] = known
    return known


def is_counted(name: str, value: object) -> bool:
    """Tell whether `value` under a secret name is but a count: `tokens: 512`, `pass: 12`."""
    return isinstance(value, int | float) and _bare(name).endswith(("tokens", "pass"))


def _bare(name: str) -> str:
    """Return `name` without case, separators, width and invisible characters."""
    plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
    return "".join(filter(str.isalnum, plain.casefold()))


def _judge(name: str) -> bool:
    bare = _bare(name[-256:])
    for _ in range(3):
        if bare in _EXACT:
            return True
        if bare.endswith(_ENDINGS):
            return not bare.endswith(_HARMLESS_TOKENS)
        if not bare.endswith(_FORMS):
            return False
        bare = bare.removesuffix(next(form for form in _FORMS if bare.endswith(form)))
    return False
