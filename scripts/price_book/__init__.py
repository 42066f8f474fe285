"""Makes the price book that ships inside the package, from tables of prices and hardware."""
