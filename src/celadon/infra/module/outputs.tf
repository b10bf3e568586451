locals {
  # `ipv4` is a set of the public and the private address.
  public = {
    for machine, instance in linode_instance.app :
    machine => sort([for address in instance.ipv4 : address if !startswith(address, "192.168.")])[0]
  }

  hosts = {
    for colour in keys(var.colours) : colour => [
      for machine in sort([for key, each in local.machines : format("%06d %s", each.number, key) if each.colour == colour]) : {
        label      = linode_instance.app[split(" ", machine)[1]].label
        ssh        = local.public[split(" ", machine)[1]]
        private    = local.addresses[split(" ", machine)[1]]
        id         = tonumber(linode_instance.app[split(" ", machine)[1]].id)
        machine    = split(" ", machine)[1]
        generation = local.machines[split(" ", machine)[1]].wanted.generation
        host_key   = lookup(var.host_keys, split(" ", machine)[1], "")
      }
    ]
  }

  known_hosts = join("", [
    for machine, address in local.public : "${address} ${var.host_keys[machine]}\n" if contains(keys(var.host_keys), machine)
  ])

  # List prices as recorded (facts.json says when); null where a type is newer than the record.
  prices = concat(
    [for each in values(local.machines) : lookup(local.facts.types, each.wanted.type, null)],
    [local.facts.nodebalancer],
  )
}

output "celadon" {
  description = "All that `hosts.terraform` of celadon.toml needs: hosts by colour, host keys, the NodeBalancer, its configs and ports."

  value = {
    hosts        = local.hosts
    nodebalancer = tonumber(linode_nodebalancer.app.id)
    known_hosts  = local.known_hosts
    region       = var.region
    app_port     = var.app_port
    configs = merge(
      { http = { id = tonumber(linode_nodebalancer_config.http.id), port = 80 } },
      local.https ? { https = { id = tonumber(linode_nodebalancer_config.https[0].id), port = 443 } } : {},
      local.test ? { test = { id = tonumber(linode_nodebalancer_config.test[0].id), port = var.test_port } } : {},
    )
  }
}

output "known_hosts" {
  description = "The machines' host keys, as OpenSSH's known_hosts has them."
  value       = local.known_hosts
}

output "public_address" {
  description = "Where users come in: the NodeBalancer's addresses and name."

  value = {
    ipv4     = linode_nodebalancer.app.ipv4
    ipv6     = linode_nodebalancer.app.ipv6
    hostname = linode_nodebalancer.app.hostname
  }
}

output "monthly_cost" {
  description = "US dollars a month by list price, without traffic beyond what is included; null when a type is newer than the prices."
  value       = anytrue([for price in local.prices : price == null]) ? null : sum([for price in local.prices : lookup(price, var.region, price["*"])])
}
