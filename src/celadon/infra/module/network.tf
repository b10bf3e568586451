# Who may talk to whom. Machines: the NodeBalancer to the application, admins to SSH. The NodeBalancer: everybody to
# the web, testers to the test port.

locals {
  # A kind of address that nobody has is null and not an empty list: the API shows nothing there, and a plan would.
  everybody = { ipv4 = ["0.0.0.0/0"], ipv6 = ["::/0"] }
  admins = {
    ipv4 = try(coalescelist([for cidr in var.admin_cidrs : cidr if !strcontains(cidr, ":")]), null)
    ipv6 = try(coalescelist([for cidr in var.admin_cidrs : cidr if strcontains(cidr, ":")]), null)
  }
  testers = {
    ipv4 = try(coalescelist([for cidr in var.tester_cidrs : cidr if !strcontains(cidr, ":")]), null)
    ipv6 = try(coalescelist([for cidr in var.tester_cidrs : cidr if strcontains(cidr, ":")]), null)
  }

  edge = merge(
    { web = merge(local.everybody, { ports = local.https ? "80, 443" : "80" }) },
    local.test ? { test = merge(local.testers, { ports = tostring(var.test_port) }) } : {},
  )
}

resource "linode_vpc" "app" {
  count = local.vpc ? 1 : 0

  label  = "${var.name}-vpc"
  region = var.region

  lifecycle {
    precondition {
      condition     = !contains(local.facts.regions_without_vpc, var.region)
      error_message = "region: ${var.region} has no VPCs. Use network = \"private_ip\" there, or another region."
    }
  }
}

resource "linode_vpc_subnet" "app" {
  count = local.vpc ? 1 : 0

  vpc_id = linode_vpc.app[0].id
  label  = "${var.name}-app"
  ipv4   = var.vpc_ipv4
}

resource "linode_firewall" "app" {
  label           = "${var.name}-app"
  tags            = local.tags
  inbound_policy  = "DROP"
  outbound_policy = "ACCEPT"

  inbound {
    label    = "app-from-nodebalancer"
    action   = "ACCEPT"
    protocol = "TCP"
    ports    = tostring(var.app_port)
    ipv4     = [local.balancer_range]
  }

  inbound {
    label    = "ssh-from-admins"
    action   = "ACCEPT"
    protocol = "TCP"
    ports    = "22"
    ipv4     = local.admins.ipv4
    ipv6     = local.admins.ipv6
  }

  inbound {
    label    = "icmp"
    action   = "ACCEPT"
    protocol = "ICMP"
    ipv4     = ["0.0.0.0/0"]
    ipv6     = ["::/0"]
  }
}

resource "linode_firewall" "edge" {
  label           = "${var.name}-edge"
  tags            = local.tags
  inbound_policy  = "DROP"
  outbound_policy = "ACCEPT"

  dynamic "inbound" {
    for_each = local.edge

    content {
      label    = inbound.key
      action   = "ACCEPT"
      protocol = "TCP"
      ports    = inbound.value.ports
      ipv4     = inbound.value.ipv4
      ipv6     = inbound.value.ipv6
    }
  }

  lifecycle {
    precondition {
      condition     = !local.test || length(var.tester_cidrs) > 0
      error_message = "tester_cidrs: test_port is given, so it needs at least one network, like [\"203.0.113.7/32\"]."
    }
  }
}
