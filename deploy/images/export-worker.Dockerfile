# The worker's images, one for each environment of export_worker/toolchains.py, converters and bubblewrap, which isolates each step:
#   core     docker build -f deploy/images/export-worker.Dockerfile .
#   litert   the same with the arguments that docker-compose.yml gives the service export-worker-litert
# EXTRAS names the model sources and the formats' toolchains; leave ultralytics out where its licence (AGPL-3.0) does not suit.
# TORCH_INDEX may name a package index with CPU builds of torch, which are a tenth of the size.
# PACKAGES adds others: NVIDIA's `tensorrt`, for a worker that builds engines on its GPU.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG PINS=constraints.txt
ARG EXTRAS=ultralytics,timm,huggingface,openvino,coreml,tensorrt
ARG FORMATS=onnx,torchscript,openvino,coreml,tensorrt
ARG TORCH_INDEX=""
ARG PACKAGES=""
RUN python -m venv /opt/modelport
COPY ${PINS} /src/pins.txt
RUN cd /src && ${TORCH_INDEX:+env PIP_INDEX_URL="$TORCH_INDEX"} /opt/modelport/bin/pip install --no-cache-dir \
        -c pins.txt torch torchvision
COPY libs/contracts /src/libs/contracts
COPY libs/processing /src/libs/processing
COPY libs/servicekit /src/libs/servicekit
COPY services/export-worker /src/services/export-worker
RUN cd /src && /opt/modelport/bin/pip install --no-cache-dir -c pins.txt \
        ./libs/contracts ./libs/processing ./libs/servicekit "./services/export-worker[${EXTRAS}]" ${PACKAGES} \
    && /opt/modelport/bin/pip uninstall -qy opencv-python \
    && /opt/modelport/bin/pip install --no-cache-dir --no-deps --force-reinstall -c pins.txt opencv-python-headless \
    && /opt/modelport/bin/python -m export_worker.smoke $(echo "${FORMATS}" | tr , " ")

FROM ${PYTHON_IMAGE}
ARG FORMATS=onnx,torchscript,openvino,coreml,tensorrt
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/modelport modelport
COPY --from=build /opt/modelport /opt/modelport
ENV PATH=/opt/modelport/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MODELPORT_HOST=0.0.0.0 \
    MODELPORT_PORT=8080 \
    MODELPORT_WORK_DIR=/var/lib/modelport/work \
    MODELPORT_FORMATS=${FORMATS}
RUN mkdir -p "$MODELPORT_WORK_DIR" && chown -R modelport "$MODELPORT_WORK_DIR"
USER modelport
WORKDIR /var/lib/modelport
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['MODELPORT_PORT']}/healthz\", timeout=2)"]
CMD ["python", "-m", "export_worker"]
