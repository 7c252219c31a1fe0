"""An object store on this machine that speaks S3 as far as restic does, path style, with one access key and one region.

It holds objects in memory and looks at the key's id and the region that requests are signed for, not at signatures.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS_KEY_ID = "backups"
SECRET = "kept-out-of-every-log"  # noqa: S105 - of tests
REGION = "eu-central-1"
_SIGNED_FOR = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/s3/")


class ObjectStore(ThreadingHTTPServer):
    """Buckets and their objects. `before_put` is called with the name of each object before it counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.before_put: Callable[[str], None] = lambda _: None
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """As `BACKUP_REPOSITORY` takes it, with a bucket that is made when it is first used."""
        return f"s3:http://127.0.0.1:{self.server_port}/bank-backups"

    def close(self) -> None:
        """End it; what it held is gone."""
        self.shutdown()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    server: ObjectStore
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        content = self._content()
        signed = _SIGNED_FOR.search(self.headers.get("Authorization", ""))
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        wanted = parse_qs(url.query, keep_blank_values=True)
        if signed is None or signed[1] != ACCESS_KEY_ID:
            self._refuse(403, "InvalidAccessKeyId", "The Access Key Id you provided does not exist in our records.")
        elif "location" in wanted:
            self._send(200, f"<LocationConstraint>{REGION}</LocationConstraint>".encode())
        elif signed[2] != REGION:
            told = f"The authorization header is malformed; the region '{signed[2]}' is wrong; expecting '{REGION}'"
            self._refuse(400, "AuthorizationHeaderMalformed", told)
        elif self.command == "PUT" and not key:
            self.server.buckets.setdefault(bucket, {})
            self._send(200)
        elif bucket not in self.server.buckets:
            self._refuse(404, "NoSuchBucket", "The specified bucket does not exist")
        elif not key:
            self._send(200, self._listed(bucket, wanted))
        else:
            self._object(self.server.buckets[bucket], key, content)

    def _object(self, objects: dict[str, bytes], key: str, content: bytes) -> None:
        if self.command == "PUT":
            self.server.before_put(key)
            with self.server.lock:
                objects[key] = content
            self._send(200)
        elif self.command == "DELETE":
            with self.server.lock:
                objects.pop(key, None)
            self._send(204)
        elif key not in objects:
            self._refuse(404, "NoSuchKey", "The specified key does not exist.")
        else:
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            found = objects[key]
            if part:
                found = found[int(part[1]) : int(part[2]) + 1 if part[2] else None]
            self._send(206 if part else 200, found)

    def _listed(self, bucket: str, wanted: dict[str, list[str]]) -> bytes:
        prefix = wanted.get("prefix", [""])[0]
        with self.server.lock:
            found = sorted((key, len(content)) for key, content in self.server.buckets[bucket].items())
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size><ETag>&quot;0&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, size in found
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    def _content(self) -> bytes:
        """The body; signed uploads come in chunks, each behind its length in hexadecimal and its signature."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.headers.get("X-Amz-Content-Sha256", "").startswith("STREAMING"):
            return body
        content = b""
        while body:
            head, _, body = body.partition(b"\r\n")
            length = int(head.partition(b";")[0], 16)
            content, body = content + body[:length], body[length + 2 :]
            if not length:
                break
        return content

    def _refuse(self, status: int, code: str, message: str) -> None:
        told = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        self._send(status, told.encode())

    def _send(self, status: int, content: bytes = b"") -> None:
        self.send_response(status, HTTPStatus(status).phrase)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/xml" if content.startswith(b"<") else "application/octet-stream")
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", formatdate(usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
