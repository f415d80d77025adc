"""A person's session and a machine's token over HTTP, with Python's standard library alone.

    session = sign_in("http://localhost:3000", "ada@example.com", "correct horse battery staple")
    me = session.get("/auth/me")
    token = machine_token("http://localhost:3000", client_id, client_secret, "orders:read")

How a service verifies the tokens that it is sent is in verify_token.py.
"""

import base64
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request


class Problem(Exception):
    """A refusal: problem+json (RFC 9457) from REST, `error` from /oauth/. Switch on `code`."""

    def __init__(self, status, body):
        self.status = status
        self.body = body
        self.code = body.get("code") or body.get("error") or "unknown"
        super().__init__(f"{status} {self.code}: {body.get('title') or body.get('error_description') or ''}")


def _send(request):
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        raise Problem(error.code, json.loads(text) if text.startswith(b"{") else {}) from None


def _post_json(url, body, token=None):
    headers = {"content-type": "application/json"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return _send(urllib.request.Request(url, json.dumps(body).encode(), headers))


class Session:
    """Somebody who is signed in. May be shared between threads."""

    def __init__(self, base_url, answer):
        self._base_url = base_url
        self._lock = threading.Lock()
        self.user = answer["user"]
        self._keep(answer)

    def _keep(self, tokens):
        self._tokens = tokens
        self._expires_at = time.monotonic() + tokens["expires_in"]

    def access_token(self):
        """A token that is good for half a minute at least. Raises Problem 401 when the session has ended."""
        # A refresh token works once, and a second use looks like theft and ends the session: one thread at a time.
        with self._lock:
            if self._expires_at - time.monotonic() < 30:
                self._keep(_post_json(f"{self._base_url}/auth/refresh", {"refreshToken": self._tokens["refreshToken"]}))
            return self._tokens["accessToken"]

    def get(self, path):
        headers = {"authorization": f"Bearer {self.access_token()}"}
        return _send(urllib.request.Request(self._base_url + path, headers=headers))

    def sign_out(self):
        """Ends the session; its tokens stop working at once."""
        with self._lock:
            _post_json(f"{self._base_url}/auth/logout", {"refreshToken": self._tokens["refreshToken"]})


def sign_in(base_url, email, password, mfa_code=None):
    """Raises Problem 401 invalid_credentials, or 401 mfa_required: have a code sent and call again with it.

    A code is sent by POST /auth/otp/send {"channel": ..., "mfaToken": ...}; `methods` and `mfaToken` are in the problem's body.
    """
    body = {"email": email, "password": password}
    if mfa_code is not None:
        body["mfaCode"] = mfa_code
    return Session(base_url, _post_json(f"{base_url}/auth/login", body))


def _form(url, client_id, client_secret, fields):
    # RFC 6749 section 2.3.1: both halves are form-encoded before they are joined.
    pair = ":".join(urllib.parse.quote_plus(half) for half in (client_id, client_secret))
    headers = {"authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return _send(urllib.request.Request(url, urllib.parse.urlencode(fields).encode(), headers))


def machine_token(issuer, client_id, client_secret, scope):
    """A token for the application itself. Keep it for `expires_in` seconds instead of asking for each request."""
    fields = {"grant_type": "client_credentials", "scope": scope}
    return _form(f"{issuer}/oauth/token", client_id, client_secret, fields)


def introspect(issuer, client_id, client_secret, token):
    """What the issuer says of a token now (RFC 7662); compare `aud` before you believe that it is meant for you."""
    return _form(f"{issuer}/oauth/introspect", client_id, client_secret, {"token": token})


def validate(base_url, token):
    """Whether a token is good at the REST API now, and whom it speaks for. Needs no credentials."""
    return _post_json(f"{base_url}/auth/validate", {"token": token})


def check(base_url, token, checks):
    """Who may do what: an answer for each question, in their order. The token's scope has authz:check:any.

    check(url, token, [{"subject": user_id, "action": "read", "resource": {"type": "invoices", "id": "42", "owner": user_id}}])
    """
    return _post_json(f"{base_url}/authz/check", {"checks": checks}, token)["results"]
