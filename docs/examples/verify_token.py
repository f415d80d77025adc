"""Verifies Countersign's JWT access tokens (RFC 9068) without asking it.

Python's standard library has neither RSA nor elliptic curves, so this needs PyJWT: pip install "pyjwt[crypto]>=2.8"
What a signature cannot say, because it happened after the token was signed, is in docs/verify-tokens.md.
"""

import threading
import time

import jwt

# Ours to choose, never the token's (RFC 8725 section 3.1): neither `none` nor HS256, under which a public key is a secret.
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
# An unknown `kid` may be a new key or somebody's invention; inventions must not become a stream of requests.
REFETCH_FLOOR_SECONDS = 30


class InsufficientScope(Exception):
    """The token is good, but not for this: answer 403. For any jwt.InvalidTokenError answer 401."""


class Verifier:
    """Make one and keep it: it holds the keys. May be shared between threads."""

    def __init__(self, issuer, audience, jwks_url=None):
        self._issuer = issuer
        self._audience = audience
        # Countersign lets JWKS be kept for five minutes.
        self._client = jwt.PyJWKClient(jwks_url or f"{issuer}/.well-known/jwks.json", lifespan=300, timeout=5)
        self._lock = threading.Lock()
        self._fetched_at = float("-inf")
        self._keys = {}

    def _key(self, alg, kid):
        # PyJWKClient.get_signing_key would fetch again for every kid that it does not know.
        with self._lock:
            age = time.monotonic() - self._fetched_at
            if age > 300 or ((alg, kid) not in self._keys and age > REFETCH_FLOOR_SECONDS):
                keys = self._client.get_jwk_set(refresh=True).keys
                self._keys = {(key.algorithm_name, key.key_id): key for key in keys}
                self._fetched_at = time.monotonic()
            return self._keys.get((alg, kid))

    def verify(self, token, scope=None):
        """The claims. Raises jwt.InvalidTokenError, InsufficientScope, or jwt.PyJWKClientError: no keys, answer 503."""
        header = jwt.get_unverified_header(token)
        # RFC 9068 section 4: an id_token, say, has the same issuer and keys, and is no access token.
        if header.get("typ", "").lower() not in ("at+jwt", "application/at+jwt") or header["alg"] not in ALGORITHMS:
            raise jwt.InvalidTokenError("not an access token of this issuer")
        # Looked up by algorithm and id, so that a key is used for nothing but its own algorithm.
        key = self._key(header["alg"], header.get("kid"))
        if key is None:
            raise jwt.InvalidTokenError("its key is not this issuer's")
        claims = jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            issuer=self._issuer,
            audience=self._audience,
            leeway=30,
            options={"require": ["iss", "aud", "exp", "sub", "client_id"]},
        )
        # Whoever sends it must prove more than that they have it: see docs/bound-tokens.md before you take this out.
        if "cnf" in claims:
            raise jwt.InvalidTokenError("bound to a key, which nobody has proven to hold")
        if scope is not None and scope not in claims.get("scope", "").split(" "):
            raise InsufficientScope(scope)
        return claims
