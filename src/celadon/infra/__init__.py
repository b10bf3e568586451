"""Infrastructure as code: the Terraform module that ships with Celadon, and what reads Terraform's plans."""
