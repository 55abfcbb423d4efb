"""Stand-ins for the outside world, each on a real loopback port."""
