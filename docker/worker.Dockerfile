# syntax=docker/dockerfile:1
# pixelmill-worker: one warm worker for one device. Context: the repository's root.
# The CUDA libraries come with torch's wheels, in the versions that torch was built for: a CUDA base image would bring
# them a second time. The driver comes from the host, by the NVIDIA container toolkit.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.8
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv /opt/pixelmill
WORKDIR /src
COPY docker/requirements-worker.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/pixelmill --require-hashes -r requirements-worker.lock
COPY . ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/pixelmill --no-deps --build-constraint requirements.lock .

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 pixelmill \
    && useradd --uid 10001 --gid pixelmill --create-home --home-dir /var/lib/pixelmill --shell /usr/sbin/nologin pixelmill \
    && install --directory --owner=pixelmill --group=pixelmill /models
COPY --from=build /opt/pixelmill /opt/pixelmill
COPY --chmod=755 docker/health.py /usr/local/bin/health
ENV PATH=/opt/pixelmill/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PIXELMILL_HOME=/var/lib/pixelmill \
    PREFECT_HOME=/var/lib/pixelmill/prefect \
    HF_HOME=/models/huggingface \
    U2NET_HOME=/models/rembg \
    NUMBA_CACHE_DIR=/var/lib/pixelmill/numba \
    DO_NOT_TRACK=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA=cuda>=13.0
USER 10001:10001
WORKDIR /var/lib/pixelmill
# Whether the worker's loop turns and its process for the device lives. Models may take minutes to load.
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s CMD ["health", "http", "http://127.0.0.1:8080/health"]
CMD ["pixelmill", "worker", "start", "--with-healthcheck"]
