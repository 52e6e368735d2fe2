"""The composition root: reads settings, wires ports to adapters, runs services. Nothing imports it."""
