"""The gateway: REST API, live progress, and the only writer of export jobs and deployments."""
