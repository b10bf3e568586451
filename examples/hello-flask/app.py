"""The tutorial's application: it says which version answers, in words and in a header."""

import os

from flask import Flask, Response

VERSION = os.environ.get("APP_VERSION", "unknown")  # set by Celadon: what was deployed
RELEASE = os.environ.get("CELADON_RELEASE", "")  # set by Celadon: the release's short id

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return f"Hello from App Version: {VERSION}!"


@app.get("/healthz")
def healthz() -> str:
    """Answers 2xx when this process can serve. Ask a database here only if no page works without it."""
    return "ok"


@app.after_request
def name_release(response: Response) -> Response:
    response.headers["X-Release"] = RELEASE
    return response
