"""The same application under Flask's development server."""

import wsgi
from flask import Flask

app = Flask(__name__)
app.wsgi_app = wsgi.app
