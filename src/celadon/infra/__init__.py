"""Infrastructure as code: the Terraform module Celadon ships, and the guard that reads Terraform's plans. Pure."""
