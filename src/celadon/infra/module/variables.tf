# What can be said about an environment. The token is no variable: the provider reads LINODE_TOKEN.

variable "name" {
  type        = string
  description = "Begins every label: `shop` gives shop-blue-g1-1, shop-nb, shop-app. One name for each environment."

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])*$", var.name)) && length(var.name) >= 3 && length(var.name) <= 24
    error_message = "name: 3 to 24 of a-z, 0-9 and single dashes, beginning with a letter, like \"shop\" or \"shop-staging\"."
  }
}

variable "region" {
  type        = string
  description = "Where everything is, like `us-ord`. It never changes: a NodeBalancer cannot move."

  validation {
    condition     = can(regex("^[a-z]{2}-[a-z]+(-[0-9]+)?$", var.region))
    error_message = "region: a Linode region with NodeBalancers, like \"us-ord\" or \"de-fra-2\" (linode-cli regions list); \"edge\" regions have none."
  }
}

variable "colours" {
  type = object({
    blue = optional(object({
      count      = optional(number, 1)
      generation = optional(number, 1)
      type       = optional(string, "g6-nanode-1")
      image      = optional(string, "linode/debian13")
    }), {})
    green = optional(object({
      count      = optional(number, 1)
      generation = optional(number, 1)
      type       = optional(string, "g6-nanode-1")
      image      = optional(string, "linode/debian13")
    }), {})
  })
  default     = {}
  nullable    = false
  description = "Machines of each colour: `count`, `type`, `image`, and `generation`. A raised generation makes that colour's machines anew; only do it to an idle colour (`celadon infra renew`)."

  validation {
    condition     = alltrue([for colour in values(var.colours) : colour.count >= 0 && colour.count <= 50 && floor(colour.count) == colour.count])
    error_message = "colours: count is a whole number from 0 to 50."
  }

  validation {
    condition     = alltrue([for colour in values(var.colours) : colour.generation >= 1 && colour.generation <= 99999 && floor(colour.generation) == colour.generation])
    error_message = "colours: generation is a whole number from 1 to 99999; it only ever grows."
  }

  validation {
    condition     = alltrue([for colour in values(var.colours) : can(regex("^g[0-9]+-[a-z0-9]+-[a-z0-9-]+$", colour.type)) || colour.type == "g6-nanode-1"])
    error_message = "colours: type is a Linode type, like \"g6-nanode-1\", \"g6-standard-2\" or \"g6-dedicated-4\" (linode-cli linodes types)."
  }

  validation {
    condition     = alltrue([for colour in values(var.colours) : contains(["linode/ubuntu24.04", "linode/debian12", "linode/debian13"], colour.image)])
    error_message = "colours: image is one of \"linode/ubuntu24.04\", \"linode/debian12\", \"linode/debian13\": those that the module is made for."
  }
}

variable "host_keys" {
  type        = map(string)
  default     = {}
  nullable    = false
  description = "Public SSH host key of each machine, by its name without the prefix (`blue-g1-1`). `celadon infra plan` and `apply` make the pairs."

  validation {
    condition     = alltrue([for machine, key in var.host_keys : can(regex("^(blue|green)-g[0-9]+-[0-9]+$", machine)) && can(regex("^ssh-ed25519 [A-Za-z0-9+/]{68}$", key))])
    error_message = "host_keys: { \"blue-g1-1\" = \"ssh-ed25519 AAAA…\" }, one ed25519 public key without a comment for each machine."
  }
}

variable "host_private_keys" {
  type        = map(string)
  default     = {}
  nullable    = false
  sensitive   = true
  description = "Private half of the keys of machines that are to be made, in OpenSSH's format. Not needed again for machines that exist. It stays in the state and in the machine's metadata."

  validation {
    condition     = alltrue([for key in values(var.host_private_keys) : can(regex("^-----BEGIN OPENSSH PRIVATE KEY-----\n[A-Za-z0-9+/=\n]+\n-----END OPENSSH PRIVATE KEY-----\n*$", key))])
    error_message = "host_private_keys: ed25519 private keys as ssh-keygen writes them, without a passphrase: -----BEGIN OPENSSH PRIVATE KEY----- …"
  }
}

variable "ssh_keys" {
  type        = list(string)
  description = "Public SSH keys of those who deploy and administer. New ones reach a machine when it is made anew."

  validation {
    condition     = length(var.ssh_keys) > 0 && alltrue([for key in var.ssh_keys : can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh.com|sk-ecdsa-sha2-nistp256@openssh.com) [A-Za-z0-9+/]+=*( [^\n]*)?\n?$", key))])
    error_message = "ssh_keys: at least one public key, like [file(pathexpand(\"~/.ssh/id_ed25519.pub\"))]; never a private one."
  }
}

variable "admin_cidrs" {
  type        = list(string)
  description = "From where SSH is allowed, IPv4 and IPv6, like `[\"203.0.113.0/24\"]`. CI that deploys must be in it."

  validation {
    condition     = length(var.admin_cidrs) > 0 && length(var.admin_cidrs) <= 255 && alltrue([for cidr in var.admin_cidrs : can(cidrhost(cidr, 0))])
    error_message = "admin_cidrs: 1 to 255 networks, like \"203.0.113.7/32\" or \"2001:db8::/48\"; [\"0.0.0.0/0\", \"::/0\"] opens SSH to everybody."
  }
}

variable "runtime" {
  type        = string
  default     = "docker"
  description = "What machines are prepared for: `docker` (Docker Engine of the distribution) or `venv` (what Python virtual environments need)."

  validation {
    condition     = contains(["docker", "venv"], var.runtime)
    error_message = "runtime: \"docker\" or \"venv\"."
  }
}

variable "app_port" {
  type        = number
  default     = 5000
  description = "The application's port on every machine: `port` of celadon.toml. Only the NodeBalancer reaches it."

  validation {
    condition     = var.app_port >= 1024 && var.app_port <= 65535 && floor(var.app_port) == var.app_port
    error_message = "app_port: a whole number from 1024 to 65535."
  }
}

variable "health" {
  type = object({
    path     = optional(string, "/")
    interval = optional(number, 5)
    timeout  = optional(number, 3)
    attempts = optional(number, 2)
  })
  default     = {}
  nullable    = false
  description = "The NodeBalancer's own check: `path`, `interval` and `timeout` in seconds, `attempts` before a node is down. Passive checks are off: they would take a node away on any 5xx."

  validation {
    condition     = can(regex("^/[a-zA-Z0-9/%?&=.-]*$", var.health.path))
    error_message = "health: path begins with / and has only a-z, A-Z, 0-9 and / - % ? & = . (Linode's own rule: no _ and no ~)."
  }

  validation {
    condition     = var.health.interval >= 2 && var.health.interval <= 3600 && floor(var.health.interval) == var.health.interval
    error_message = "health: interval is a whole number of seconds, 2 to 3600."
  }

  validation {
    condition     = var.health.timeout >= 1 && var.health.timeout <= 30 && floor(var.health.timeout) == var.health.timeout && var.health.timeout < var.health.interval
    error_message = "health: timeout is a whole number of seconds, 1 to 30, and below interval."
  }

  validation {
    condition     = var.health.attempts >= 1 && var.health.attempts <= 30 && floor(var.health.attempts) == var.health.attempts
    error_message = "health: attempts is a whole number, 1 to 30."
  }
}

variable "client_conn_throttle" {
  type        = number
  default     = 0
  description = "Most new connections a second from one address; 0 is no limit. Celadon's verifier counts as one client."

  validation {
    condition     = var.client_conn_throttle >= 0 && var.client_conn_throttle <= 20 && floor(var.client_conn_throttle) == var.client_conn_throttle
    error_message = "client_conn_throttle: a whole number from 0 (no limit) to 20."
  }
}

variable "tls_certificate" {
  type        = string
  default     = null
  description = "Certificate with its chain (PEM). With it port 443 answers https. Have one from the first day: a port added under a live colour has nobody behind it until the next deploy."

  validation {
    condition     = var.tls_certificate == null || can(regex("^-----BEGIN CERTIFICATE-----\n", var.tls_certificate))
    error_message = "tls_certificate: PEM text, the certificate first and then its chain, like file(\"tls/fullchain.pem\")."
  }
}

variable "tls_private_key" {
  type        = string
  default     = null
  sensitive   = true
  description = "Private key of the certificate (PEM, no passphrase). It stays in the state."

  validation {
    condition     = var.tls_private_key == null || can(regex("^-----BEGIN (RSA |EC )?PRIVATE KEY-----\n", var.tls_private_key))
    error_message = "tls_private_key: PEM text without a passphrase, like file(\"tls/privkey.pem\")."
  }
}

variable "test_port" {
  type        = number
  default     = null
  description = "A second port of the NodeBalancer, only for `tester_cidrs`: what stands behind it is seen there before users see it. celadon.toml takes it from here; `balancer.test_port` there is for a NodeBalancer of another make."

  validation {
    condition     = var.test_port == null ? true : var.test_port >= 1 && var.test_port <= 65535 && floor(var.test_port) == var.test_port && !contains([80, 443], var.test_port)
    error_message = "test_port: a whole number from 1 to 65535, not 80 and not 443, like 8081; or null for none."
  }
}

variable "tester_cidrs" {
  type        = list(string)
  default     = []
  nullable    = false
  description = "From where the test port is reached. Whoever runs `celadon deploy` must be in it."

  validation {
    condition     = length(var.tester_cidrs) <= 255 && alltrue([for cidr in var.tester_cidrs : can(cidrhost(cidr, 0))])
    error_message = "tester_cidrs: at most 255 networks, like \"203.0.113.7/32\" or \"2001:db8::/48\"."
  }
}

variable "network" {
  type        = string
  default     = "private_ip"
  description = "How the NodeBalancer reaches machines: `private_ip` (every region; shared with others in it) or `vpc` (your own; most newer regions). It never changes: a NodeBalancer cannot join a VPC later."

  validation {
    condition     = contains(["private_ip", "vpc"], var.network)
    error_message = "network: \"private_ip\" or \"vpc\"."
  }
}

variable "vpc_ipv4" {
  type        = string
  default     = "10.20.0.0/24"
  description = "The VPC's subnet, with `network = \"vpc\"`. The NodeBalancer gets the last but one /30 of it."

  validation {
    condition     = can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)[0-9.]+/(1[6-9]|2[0-7])$", var.vpc_ipv4)) && try(cidrsubnet(var.vpc_ipv4, 0, 0) == var.vpc_ipv4, false)
    error_message = "vpc_ipv4: a private network of /16 to /27 by its first address, like \"10.20.0.0/24\"."
  }
}

variable "domain" {
  type        = string
  default     = null
  description = "A domain to make at Linode, like `example.com`. For one that Linode has already give `domain_id` instead; with neither, no record is made."

  validation {
    condition     = var.domain == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain))
    error_message = "domain: a domain in small letters, like \"example.com\"; or null for none."
  }
}

variable "soa_email" {
  type        = string
  default     = null
  description = "Who answers for the domain. Linode demands it with `domain`."

  validation {
    condition     = var.soa_email == null || can(regex("^[^@ ]+@[^@ ]+\\.[a-z]{2,63}$", var.soa_email))
    error_message = "soa_email: an address, like \"hostmaster@example.com\"."
  }
}

variable "domain_id" {
  type        = number
  default     = null
  description = "Id of a domain that Linode has already (linode-cli domains list): only records are added to it."

  validation {
    condition     = var.domain_id == null ? true : var.domain_id >= 1 && floor(var.domain_id) == var.domain_id
    error_message = "domain_id: the number of a domain (linode-cli domains list), or null for none."
  }
}

variable "records" {
  type        = list(string)
  default     = [""]
  nullable    = false
  description = "Names in the domain that lead to the NodeBalancer, each with an A and an AAAA record; \"\" is the domain itself."

  validation {
    condition     = length(distinct(var.records)) == length(var.records) && alltrue([for name in var.records : can(regex("^(([a-z0-9_*]([a-z0-9-]{0,61}[a-z0-9])?)(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*)?$", name))])
    error_message = "records: names without the domain, each once, like [\"\", \"www\"]; \"\" is the domain itself."
  }
}

variable "record_ttl" {
  type        = number
  default     = 300
  description = "How long resolvers keep the records, in seconds."

  validation {
    condition     = contains([30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200], var.record_ttl)
    error_message = "record_ttl: one of 30, 120, 300, 3600, 7200, 14400, 28800, 57600, 86400, 172800, 345600, 604800, 1209600, 2419200: Linode rounds others, and each plan would show it."
  }
}

variable "tags" {
  type        = list(string)
  default     = []
  nullable    = false
  description = "Tags of everything that can have some, beside the module's own (the name, the colour)."

  validation {
    condition     = alltrue([for tag in var.tags : length(tag) >= 3 && length(tag) <= 50 && lower(tag) == tag && trimspace(tag) == tag])
    error_message = "tags: each of 3 to 50 characters in small letters (Linode does not tell large from small, plans do)."
  }
}
