# One small image per service: docker build -f deploy/images/service.Dockerfile --build-arg SERVICE=gateway .
# SERVICE is a folder below services/; the module that runs is the same name with underscores.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG SERVICE
RUN python -m venv /opt/modelport
COPY constraints.txt /src/
COPY libs/contracts /src/libs/contracts
COPY libs/processing /src/libs/processing
COPY libs/servicekit /src/libs/servicekit
COPY services/${SERVICE} /src/services/${SERVICE}
RUN cd /src && /opt/modelport/bin/pip install --no-cache-dir -c constraints.txt \
        ./libs/contracts ./libs/processing ./libs/servicekit "./services/${SERVICE}"

FROM ${PYTHON_IMAGE} AS service
ARG SERVICE
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/modelport modelport
COPY --from=build /opt/modelport /opt/modelport
ENV PATH=/opt/modelport/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MODELPORT_SERVICE=${SERVICE} \
    MODELPORT_HOST=0.0.0.0 \
    MODELPORT_PORT=8080 \
    MODELPORT_WORK_DIR=/var/lib/modelport/work
RUN mkdir -p "$MODELPORT_WORK_DIR" && chown -R modelport "$MODELPORT_WORK_DIR"
USER modelport
WORKDIR /var/lib/modelport
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['MODELPORT_PORT']}/healthz\", timeout=2)"]
# exec: the service itself gets the stop signal; the module is the folder's name with underscores.
CMD ["/bin/sh", "-c", "exec python -m \"$(echo \"$MODELPORT_SERVICE\" | tr - _)\""]

# --target packager (SERVICE=packager): with the clean environments in which packages are verified, and what isolates that.
# TORCH_INDEX may name a package index with CPU builds of torch, which are a tenth of the size.
FROM build AS runtimes
ARG TORCH_INDEX=""
RUN cd /src && /opt/modelport/bin/python -c "from packager.environments import ENVIRONMENTS as e; [print(one.export_format, *one.requirements()) for one in e]" > wanted \
    && while read -r format wanted; do \
        python -m venv "/opt/runtimes/$format" \
        && ${TORCH_INDEX:+env PIP_EXTRA_INDEX_URL="$TORCH_INDEX"} "/opt/runtimes/$format/bin/pip" install --no-cache-dir -c constraints.txt $wanted \
        || exit 1; \
    done < wanted

FROM service AS packager
USER root
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap util-linux && rm -rf /var/lib/apt/lists/*
COPY --from=runtimes /opt/runtimes /opt/runtimes
ENV MODELPORT_RUNTIMES_DIR=/opt/runtimes
USER modelport

FROM service
