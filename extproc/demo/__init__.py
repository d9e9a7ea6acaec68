"""A whole release on one machine: simulated models, the real Envoy, traffic, and a comparison with the models' own ledgers."""
