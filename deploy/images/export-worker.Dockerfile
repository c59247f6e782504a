# The worker's image for the PyTorch toolchain (ONNX, TorchScript): the converters and bubblewrap, which isolates each step.
# EXTRAS names the model sources; leave ultralytics out where its licence (AGPL-3.0) does not suit.
# TORCH_INDEX may name a package index with CPU builds of torch, which are a tenth of the size.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG EXTRAS=ultralytics,timm,huggingface
ARG TORCH_INDEX=""
RUN python -m venv /opt/modelport
COPY constraints.txt /src/
RUN cd /src && ${TORCH_INDEX:+env PIP_INDEX_URL="$TORCH_INDEX"} /opt/modelport/bin/pip install --no-cache-dir \
        -c constraints.txt torch torchvision
COPY libs/contracts /src/libs/contracts
COPY libs/processing /src/libs/processing
COPY libs/servicekit /src/libs/servicekit
COPY services/export-worker /src/services/export-worker
RUN cd /src && /opt/modelport/bin/pip install --no-cache-dir -c constraints.txt \
        ./libs/contracts ./libs/processing ./libs/servicekit "./services/export-worker[${EXTRAS}]" \
    && /opt/modelport/bin/pip uninstall -qy opencv-python \
    && /opt/modelport/bin/pip install --no-cache-dir --no-deps --force-reinstall -c constraints.txt opencv-python-headless

FROM ${PYTHON_IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/modelport modelport
COPY --from=build /opt/modelport /opt/modelport
ENV PATH=/opt/modelport/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MODELPORT_HOST=0.0.0.0 \
    MODELPORT_PORT=8080 \
    MODELPORT_WORK_DIR=/var/lib/modelport/work
RUN mkdir -p "$MODELPORT_WORK_DIR" && chown -R modelport "$MODELPORT_WORK_DIR"
USER modelport
WORKDIR /var/lib/modelport
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['MODELPORT_PORT']}/healthz\", timeout=2)"]
CMD ["python", "-m", "export_worker"]
