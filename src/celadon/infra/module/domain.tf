# Names that lead to the NodeBalancer: in a domain of our own making, in one that exists, or none.

locals {
  records   = var.domain == null && var.domain_id == null ? [] : var.records
  domain_id = var.domain == null ? var.domain_id : one(linode_domain.app[*].id)
}

resource "linode_domain" "app" {
  count = var.domain == null ? 0 : 1

  type      = "master"
  domain    = var.domain
  soa_email = var.soa_email
  ttl_sec   = var.record_ttl
  tags      = local.tags

  lifecycle {
    precondition {
      condition     = var.soa_email != null
      error_message = "soa_email: domain is given, and Linode makes none without an address that answers for it, like \"hostmaster@${var.domain}\"."
    }

    precondition {
      condition     = var.domain_id == null
      error_message = "domain_id: give domain (to make one) or domain_id (to use one), not both."
    }
  }
}

resource "linode_domain_record" "ipv4" {
  for_each = toset(local.records)

  domain_id   = local.domain_id
  name        = each.key
  record_type = "A"
  target      = linode_nodebalancer.app.ipv4
  ttl_sec     = var.record_ttl
}

resource "linode_domain_record" "ipv6" {
  for_each = toset(local.records)

  domain_id   = local.domain_id
  name        = each.key
  record_type = "AAAA"
  target      = linode_nodebalancer.app.ipv6
  ttl_sec     = var.record_ttl
}
