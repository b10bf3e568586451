# The machines. What one is made of (image, keys, user data) is decided when it is made; a raised generation makes
# that colour anew under new labels, beside the old ones, and touches nothing of the other colour.

locals {
  facts = jsondecode(file("${path.module}/facts.json"))
  tags  = concat([var.name, "celadon"], var.tags)
  vpc   = var.network == "vpc"

  machines = merge([
    for colour, wanted in var.colours : {
      for number in range(1, wanted.count + 1) : "${colour}-g${wanted.generation}-${number}" => {
        colour = colour
        number = number
        wanted = wanted
      }
    }
  ]...)

  # Where the NodeBalancer's requests and checks come from: documented for private addresses, chosen for a VPC.
  balancer_range = local.vpc ? cidrsubnet(var.vpc_ipv4, 30 - local.vpc_prefix, pow(2, 30 - local.vpc_prefix) - 2) : "192.168.255.0/24"
  vpc_prefix     = tonumber(split("/", var.vpc_ipv4)[1])
}

resource "linode_instance" "app" {
  for_each = local.machines

  label                = "${var.name}-${each.key}"
  region               = var.region
  type                 = each.value.wanted.type
  image                = each.value.wanted.image
  private_ip           = local.vpc ? null : true
  interface_generation = "legacy_config" # the account's default may be another, which needs other resources
  authorized_keys      = [for key in var.ssh_keys : chomp(key)]
  firewall_id          = linode_firewall.app.id # before the first boot; a device would come after it
  tags                 = concat(local.tags, [each.value.colour])

  dynamic "interface" {
    for_each = local.vpc ? [linode_vpc_subnet.app[0].id] : []

    content {
      purpose   = "vpc"
      primary   = true
      subnet_id = interface.value

      ipv4 {
        nat_1_1 = "any" # the public address stays
      }
    }
  }

  metadata {
    user_data = base64encode(templatefile("${path.module}/cloud-init.yaml.tftpl", {
      hostname        = "${var.name}-${each.key}"
      host_key        = lookup(var.host_keys, each.key, "")
      private_key     = trimspace(lookup(var.host_private_keys, each.key, ""))
      runtime         = var.runtime
      private_network = local.vpc ? var.vpc_ipv4 : "192.168.128.0/17"
      swap            = each.value.wanted.type == "g6-nanode-1"
    }))
  }

  lifecycle {
    # All of them force a replacement (or, the label, rename a host that Celadon knows by it). Without this line an
    # edited template or one more admin key would replace the live colour. They hold for machines made from now on.
    ignore_changes = [label, image, authorized_keys, metadata, firewall_id]

    postcondition {
      # Looks at what the machine has or will have: a machine that exists or was adopted needs no key again. A choice and
      # not `||`, which before Terraform 1.12 asks both sides.
      condition     = length(self.metadata) == 0 ? true : strcontains(base64decode(self.metadata[0].user_data), "BEGIN OPENSSH PRIVATE KEY")
      error_message = "${each.key} is to be made and has no host key: host_keys and host_private_keys need \"${each.key}\". `celadon infra apply` makes them; plain Terraform: ssh-keygen -t ed25519 -N '' -C '' -f ${each.key}."
    }
  }
}
