# Your own domain with https, two machines a colour, a port for testers; one folder for several environments:
#
#   terraform workspace new staging && terraform apply -var-file=staging.tfvars
#
# The state can be in Object Storage: see docs/how-to/infrastructure.md, "State that a team shares".

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

  name              = var.name
  region            = "us-ord"
  ssh_keys          = var.ssh_keys
  admin_cidrs       = var.admin_cidrs
  colours           = var.colours
  host_keys         = var.host_keys
  host_private_keys = var.host_private_keys

  health               = { path = "/healthz" }
  client_conn_throttle = 20
  test_port            = 8081
  tester_cidrs         = var.admin_cidrs

  domain    = var.domain
  soa_email = "hostmaster@${var.domain}"
  records   = ["", "www"]

  tls_certificate = file("${path.root}/tls/fullchain.pem")
  tls_private_key = file("${path.root}/tls/privkey.pem")
}

variable "name" {
  type        = string
  description = "One for each environment: all labels begin with it."
}

variable "domain" {
  type        = string
  description = "The domain of this environment."
}

variable "ssh_keys" {
  type        = list(string)
  description = "Public SSH keys of those who deploy."
}

variable "admin_cidrs" {
  type        = list(string)
  description = "From where SSH and the test port are reached."
}

variable "colours" {
  description = "Machines of each colour; `celadon infra renew` raises the generation."

  default = {
    blue  = { count = 2 }
    green = { count = 2 }
  }
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
