"""Infrastructure as code: the Terraform module that ships with Celadon, and the guard that reads plans. Pure."""
