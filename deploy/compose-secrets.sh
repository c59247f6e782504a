#!/bin/sh
# Writes the secrets of docker-compose.yml into .env (mode 600), once: deploy/compose-secrets.sh
set -eu
cd "$(dirname "$0")/.."
if [ -e .env ]; then
    echo ".env is there already; it stays as it is"
    exit 0
fi
umask 077
random() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }
token=$(PYTHONPATH=libs/contracts/src "${PYTHON:-python3}" -c 'from contracts.credentials import USER_PREFIX, mint; print(mint(USER_PREFIX))')
cat >.env <<END
MODELPORT_POSTGRES_PASSWORD=$(random 24)
MODELPORT_S3_ACCESS_KEY=$(random 10)
MODELPORT_S3_SECRET_KEY=$(random 24)
MODELPORT_KEY_PEPPER=$(random 32)
MODELPORT_BOOTSTRAP_TOKEN=$token
END
echo "wrote .env; the administrator's token is MODELPORT_BOOTSTRAP_TOKEN"
