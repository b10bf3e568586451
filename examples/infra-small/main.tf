# The smallest: one machine a colour, a NodeBalancer, http at its address. About 20 dollars a month.
#
#   export LINODE_TOKEN=…            # Linodes, NodeBalancers, Firewalls: read/write
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

  name              = "hello"
  region            = "us-ord"
  ssh_keys          = var.ssh_keys
  admin_cidrs       = var.admin_cidrs
  colours           = var.colours
  host_keys         = var.host_keys
  host_private_keys = var.host_private_keys
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
