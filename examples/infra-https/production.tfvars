name   = "shop"
domain = "example.com"

colours = {
  blue  = { count = 2, type = "g6-standard-1" }
  green = { count = 2, type = "g6-standard-1" }
}
