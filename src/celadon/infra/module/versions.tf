# One provider only: keys and passwords come from `celadon`, never from a second provider's state.
terraform {
  required_version = ">= 1.6"

  required_providers {
    linode = {
      source  = "linode/linode"
      version = "~> 3.13"
    }
  }
}
