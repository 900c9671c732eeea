"""Authoring tools of Insula's bundled models: network, synthetic data, training, export."""
