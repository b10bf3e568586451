"""Django's command line, for development: python manage.py runserver."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hello.settings")
    os.environ.setdefault("SECRET_KEY", "only-for-development")
    os.environ.setdefault("ALLOWED_HOSTS", "localhost,127.0.0.1")
    execute_from_command_line(sys.argv)
