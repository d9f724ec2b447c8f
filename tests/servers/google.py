"""What fake-gcs-server lacks of Google: tokens for service accounts, and answers to who has none.

A server before it, on one port: `POST /token` gives tokens to the accounts that it knows, everything else
needs one and is forwarded. What it says to others is what Google says.
"""

import base64
import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import google.auth.jwt
import urllib3
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

__all__ = ["GoogleFront"]

_NO_ACCESS = "does not have storage.objects.get access to the Google Cloud Storage object."


class GoogleFront:
    """A server in front of the one at `behind`.

    Attributes:
        url: what endpoint_url takes.
        issued: the tokens, in order; `revoke` makes the last of them worthless.
        requests: the method and address of what came in with a good token.
        last_body: of the last of these.
        refused: how often a request came without.
        lifetime: of the next tokens, in seconds.
        forbidden: accounts that have no role.
        pays: where given, the userProject that each request has to name.
    """

    def __init__(self, behind: str) -> None:
        self.issued: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.last_body = b""
        self.refused = 0
        self.lifetime = 3600
        self.forbidden: set[str] = set()
        self.pays: str | None = None
        self._owners: dict[str, str] = {}
        self._keys: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._pool = urllib3.connection_from_url(behind, maxsize=32)
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                front._serve(self)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._pool.close()

    def account(self, email: str) -> dict[str, str]:
        """Return the content of a service account's file, whose key the token service knows."""
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._keys[email] = public
        return {
            "type": "service_account",
            "project_id": "the-project",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": email,
            "token_uri": f"{self.url}/token",
        }

    def revoke(self) -> None:
        """Take back all tokens."""
        self._owners.clear()

    def dismiss(self, email: str) -> None:
        """Forget an account."""
        del self._keys[email]

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        if request.path == "/token":
            status, answer = self._token(body)
            _send(request, status, json.dumps(answer).encode())
            return
        who = self._owners.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        query = parse_qs(urlsplit(request.path).query)
        wrong = self._wrong(request, who, query)
        if wrong is not None:
            with self._lock:
                self.refused += 1
            _send(request, *wrong)
            return
        with self._lock:
            self.requests.append((request.command, request.path))
            self.last_body = body
        passed = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in ("authorization", "host", "connection", "content-length")
        }
        answer = self._pool.urlopen(
            request.command,
            request.path,
            body=body or None,
            headers=passed,
            decode_content=False,
            redirect=False,
            retries=False,
        )
        kept = {
            name: value
            for name, value in answer.headers.items()
            if name.lower() not in ("connection", "content-length", "date", "transfer-encoding")
        }
        _send(request, answer.status, answer.data, kept)

    def _wrong(
        self, request: BaseHTTPRequestHandler, who: str | None, query: Mapping[str, list[str]]
    ) -> tuple[int, bytes] | None:
        if who is None and "authorization" in request.headers:
            return _error(401, "authError", "Invalid Credentials")
        if who is None:
            return _error(401, "required", f"Anonymous caller {_NO_ACCESS}")
        if who in self.forbidden:
            return _error(403, "forbidden", f"{who} {_NO_ACCESS}")
        if self.pays is not None and query.get("userProject") != [self.pays]:
            text = "Bucket is a requester pays bucket but no user project provided."
            return _error(400, "required", text)
        return None

    def _token(self, body: bytes) -> tuple[int, dict[str, Any]]:
        (assertion,) = parse_qs(body.decode())["assertion"]
        claims = json.loads(base64.urlsafe_b64decode(assertion.split(".")[1] + "=="))
        key = self._keys.get(claims["iss"])
        try:
            if key is None:
                raise ValueError("no such account")
            google.auth.jwt.decode(assertion, certs=key, audience="https://oauth2.googleapis.com/token")
        except ValueError as error:
            return 400, {"error": "invalid_grant", "error_description": f"Invalid grant: {error}"}
        with self._lock:
            token = f"token-hunter2-{len(self.issued)}"
            self.issued.append(token)
            self._owners[token] = claims["iss"]
        return 200, {"access_token": token, "expires_in": self.lifetime, "token_type": "Bearer"}


def _error(status: int, reason: str, message: str) -> tuple[int, bytes]:
    errors = [{"message": message, "domain": "global", "reason": reason}]
    return status, json.dumps({"error": {"code": status, "message": message, "errors": errors}}).encode()


def _send(
    request: BaseHTTPRequestHandler, status: int, body: bytes, headers: Mapping[str, str] | None = None
) -> None:
    request.send_response_only(status)
    for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
