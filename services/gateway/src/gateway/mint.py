"""`python -m gateway.mint`: a new bearer token on stdout, for MODELPORT_BOOTSTRAP_TOKEN."""

from contracts import credentials

if __name__ == "__main__":
    print(credentials.mint(credentials.USER_PREFIX))
