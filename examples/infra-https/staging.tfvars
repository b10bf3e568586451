name   = "shop-staging"
domain = "staging.example.com"

colours = {
  blue  = { count = 1 }
  green = { count = 1 }
}
