# Machines and NodeBalancer in a VPC of their own, for `source` releases in virtual environments: no Docker.
#
#   export LINODE_TOKEN=…            # Linodes, NodeBalancers, Firewalls, VPCs: read/write
#   celadon infra apply              # or: terraform init && terraform apply

terraform {
  required_version = ">= 1.6"

  required_providers {
    linode = {
      source  = "linode/linode"
      version = "~> 3.13"
    }
  }
}

module "celadon" {
  source = "../../src/celadon/infra/module"

  name              = "quiet"
  region            = "us-ord"
  ssh_keys          = var.ssh_keys
  admin_cidrs       = var.admin_cidrs
  colours           = var.colours
  host_keys         = var.host_keys
  host_private_keys = var.host_private_keys

  network  = "vpc"
  vpc_ipv4 = "10.30.0.0/24"
  runtime  = "venv"
}

variable "ssh_keys" {
  type        = list(string)
  description = "Public SSH keys of those who deploy."
}

variable "admin_cidrs" {
  type        = list(string)
  description = "From where SSH is allowed."
}

variable "colours" {
  description = "Machines of each colour; `celadon infra renew` raises the generation."
  default     = {}
}

variable "host_keys" {
  type        = map(string)
  description = "Public halves of the machines' host keys. `celadon infra apply` makes the pairs."
  default     = {}
}

variable "host_private_keys" {
  type        = map(string)
  description = "Private halves, for machines that are to be made."
  default     = {}
  sensitive   = true
}

output "celadon" {
  value = module.celadon.celadon
}

output "public_address" {
  value = module.celadon.public_address
}

output "monthly_cost" {
  value = module.celadon.monthly_cost
}
