# The NodeBalancer. Its nodes are made in mode reject and then belong to Celadon: mode and weight are who gets the
# traffic, and no apply may change that.

locals {
  https = var.tls_certificate != null
  test  = var.test_port != null
  check = {
    path     = var.health.path
    interval = var.health.interval
    timeout  = var.health.timeout
    attempts = var.health.attempts
  }
  addresses = {
    for machine, instance in linode_instance.app :
    machine => local.vpc ? instance.interface[0].ipv4[0].vpc : instance.private_ip_address
  }
}

resource "linode_nodebalancer" "app" {
  label                = "${var.name}-nb"
  region               = var.region
  client_conn_throttle = var.client_conn_throttle
  firewall_id          = linode_firewall.edge.id
  tags                 = local.tags
  vpcs                 = local.vpc ? [{ subnet_id = linode_vpc_subnet.app[0].id, ipv4_range = local.balancer_range }] : null

  lifecycle {
    ignore_changes = [firewall_id] # it forces a replacement, and that is another public address

    precondition {
      condition     = !contains(local.facts.regions_without_nodebalancers, var.region)
      error_message = "region: ${var.region} has no NodeBalancers (linode-cli regions list)."
    }
  }
}

resource "linode_nodebalancer_config" "http" {
  nodebalancer_id = linode_nodebalancer.app.id
  port            = 80
  protocol        = "http"
  algorithm       = "roundrobin"
  stickiness      = "none"
  check           = "http"
  check_path      = local.check.path
  check_interval  = local.check.interval
  check_timeout   = local.check.timeout
  check_attempts  = local.check.attempts
  check_passive   = false
}

resource "linode_nodebalancer_config" "https" {
  count = local.https ? 1 : 0

  nodebalancer_id = linode_nodebalancer.app.id
  port            = 443
  protocol        = "https"
  ssl_cert        = var.tls_certificate
  ssl_key         = var.tls_private_key
  algorithm       = "roundrobin"
  stickiness      = "none"
  check           = "http"
  check_path      = local.check.path
  check_interval  = local.check.interval
  check_timeout   = local.check.timeout
  check_attempts  = local.check.attempts
  check_passive   = false

  lifecycle {
    precondition {
      condition     = var.tls_private_key != null
      error_message = "tls_private_key: tls_certificate is given, so its key is needed too."
    }
  }
}

resource "linode_nodebalancer_config" "test" {
  count = local.test ? 1 : 0

  nodebalancer_id = linode_nodebalancer.app.id
  port            = var.test_port
  protocol        = "http"
  algorithm       = "roundrobin"
  stickiness      = "none"
  check           = "http"
  check_path      = local.check.path
  check_interval  = local.check.interval
  check_timeout   = local.check.timeout
  check_attempts  = local.check.attempts
  check_passive   = false
}

# Three resources and not one with a product of keys: `replace_triggered_by` takes each.key and nothing else. It is
# needed because deleting an instance silently deletes its nodes, and an update of a node that is gone fails.

resource "linode_nodebalancer_node" "http" {
  for_each = local.machines

  nodebalancer_id = linode_nodebalancer.app.id
  config_id       = linode_nodebalancer_config.http.id
  label           = each.key
  address         = "${local.addresses[each.key]}:${var.app_port}"
  subnet_id       = local.vpc ? linode_vpc_subnet.app[0].id : null
  mode            = "reject"
  weight          = 100

  lifecycle {
    ignore_changes       = [mode, weight]
    replace_triggered_by = [linode_instance.app[each.key].id]
  }
}

resource "linode_nodebalancer_node" "https" {
  for_each = local.https ? local.machines : {}

  nodebalancer_id = linode_nodebalancer.app.id
  config_id       = linode_nodebalancer_config.https[0].id
  label           = each.key
  address         = "${local.addresses[each.key]}:${var.app_port}"
  subnet_id       = local.vpc ? linode_vpc_subnet.app[0].id : null
  mode            = "reject"
  weight          = 100

  lifecycle {
    ignore_changes       = [mode, weight]
    replace_triggered_by = [linode_instance.app[each.key].id]
  }
}

resource "linode_nodebalancer_node" "test" {
  for_each = local.test ? local.machines : {}

  nodebalancer_id = linode_nodebalancer.app.id
  config_id       = linode_nodebalancer_config.test[0].id
  label           = each.key
  address         = "${local.addresses[each.key]}:${var.app_port}"
  subnet_id       = local.vpc ? linode_vpc_subnet.app[0].id : null
  mode            = "reject"
  weight          = 100

  lifecycle {
    ignore_changes       = [mode, weight]
    replace_triggered_by = [linode_instance.app[each.key].id]
  }
}
