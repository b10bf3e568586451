"""Settings from the environment: one image serves every stage, and no secret is in it."""

import os

SECRET_KEY = os.environ["SECRET_KEY"]  # missing: fail at the start, where the probe sees it, and not at a login
ALLOWED_HOSTS = [host for host in os.environ.get("ALLOWED_HOSTS", "").split(",") if host]

ROOT_URLCONF = "hello.urls"
WSGI_APPLICATION = "hello.wsgi.application"
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "hello.urls.NameRelease",
]
# The NodeBalancer ends TLS and says so. A redirect of the health path would prove nothing, so none is made here.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_TZ = True
