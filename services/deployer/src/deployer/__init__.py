"""The deployer: makes Triton serve exactly what deployments ask for."""
