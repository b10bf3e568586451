"""The same application under Django's development server."""

import sys
import types

from django.conf import settings
from django.core.management import execute_from_command_line

if __name__ == "__main__":
    settings.configure(
        SECRET_KEY="of-a-test", ALLOWED_HOSTS=["*"], ROOT_URLCONF="urls", WSGI_APPLICATION="wsgi.app", USE_TZ=True
    )
    sys.modules["urls"] = types.ModuleType("urls")
    sys.modules["urls"].urlpatterns = []
    execute_from_command_line(sys.argv)
