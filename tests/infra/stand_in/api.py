"""The provider's HTTP client, as linodego behaves: `?page=1` on lists, patience with 429, every error said."""

import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
PATIENCE = 120.0  # seconds for one call with its repetitions
WITHIN = 120.0  # seconds until an instance runs, or is gone
NOT_FOUND = 404


class Answered(Exception):
    """The API's refusal, in its own words."""

    def __init__(self, method: str, path: str, status: int, text: str) -> None:
        super().__init__(f"[{status:03d}] {_reasons(text)} ({method} {path})")
        self.status = status


class Api:
    def __init__(self, url: str, token: str, poll: float) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self.poll = poll
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def configured(cls, config: Json) -> "Api":
        """The provider block first, then the environment. Makes no request."""
        url = config["url"] or os.environ.get("LINODE_URL") or "https://api.linode.com"
        if urllib.parse.urlsplit(url).hostname not in ("127.0.0.1", "localhost"):
            raise Answered("configure", url, 0, "this is a stand-in for tests: it speaks to a lab on loopback only")
        token = config["token"] or os.environ.get("LINODE_TOKEN")
        if not token:
            raise Answered("configure", url, 0, "The Linode API Token is required: set LINODE_TOKEN")
        poll = config["event_poll_ms"] or int(os.environ.get("LINODE_EVENT_POLL_MS", "4000"))
        return cls(url, token, poll / 1000)

    def get(self, path: str, *, where: Json | None = None) -> Any:
        return self._call("GET", path, where=where)

    def rows(self, path: str, *, where: Json | None = None) -> list[Json]:
        rows: list[Json] = self.get(f"{path}?page=1", where=where)["data"]
        return rows

    def maybe(self, path: str) -> Any:
        """None where it is gone: that is how a provider learns that an object was deleted by hand."""
        try:
            return self.get(path)
        except Answered as refusal:
            if refusal.status != NOT_FOUND:
                raise
            return None

    def post(self, path: str, body: Json) -> Any:
        return self._call("POST", path, body)

    def put(self, path: str, body: Json) -> Any:
        return self._call("PUT", path, body)

    def delete(self, path: str, *, gone_is_fine: bool = True) -> None:
        try:
            self._call("DELETE", path)
        except Answered as refusal:
            if refusal.status != NOT_FOUND or not gone_is_fine:
                raise

    def until(self, what: str, look: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WITHIN
        while not look():
            if time.monotonic() > deadline:
                raise Answered("wait", what, 0, f"not within {WITHIN:g} s")
            threading.Event().wait(self.poll)

    def _call(self, method: str, path: str, body: Json | None = None, *, where: Json | None = None) -> Any:
        deadline = time.monotonic() + PATIENCE
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if where is not None:
            headers["X-Filter"] = json.dumps(where)
        data = json.dumps(body).encode() if body is not None else None
        while True:
            request = urllib.request.Request(f"{self._url}/v4{path}", data, headers, method=method)
            try:
                with self._opener.open(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                text = error.read().decode("utf-8", "replace")
                if error.code not in (408, 429, 503) or time.monotonic() > deadline:
                    raise Answered(method, path, error.code, text) from None
                threading.Event().wait(float(error.headers.get("Retry-After") or self.poll))
            except OSError as error:
                raise Answered(method, path, 0, str(error)) from None


def _reasons(text: str) -> str:
    try:
        return "; ".join(f"[{each['field']}] {each['reason']}" if each.get("field") else each["reason"]
                         for each in json.loads(text)["errors"])  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return text
