"""Two pages, and the middleware that names the release."""

import os
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import path

VERSION = os.environ.get("APP_VERSION", "unknown")  # set by Celadon: what was deployed
RELEASE = os.environ.get("CELADON_RELEASE", "")  # set by Celadon: the release's short id


def hello(_: HttpRequest) -> HttpResponse:
    return HttpResponse(f"Hello from App Version: {VERSION}!")


def healthz(_: HttpRequest) -> HttpResponse:
    """Passes ALLOWED_HOSTS too: Celadon probes with the Host header that users send."""
    return HttpResponse("ok")


class NameRelease:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response["X-Release"] = RELEASE
        return response


urlpatterns = [path("", hello), path("healthz", healthz)]
