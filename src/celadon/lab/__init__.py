"""A local Linode: its API over HTTP, instances with SSH, NodeBalancers that carry traffic. Loopback only."""
