"""What the stores that speak HTTP share."""
