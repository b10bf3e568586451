"""The smallest Django site that deploys well."""
