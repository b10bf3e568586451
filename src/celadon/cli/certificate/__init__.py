"""The certificate as one HTML file: words, picture, look, signature. Figures are in `core/certificate.py`."""
