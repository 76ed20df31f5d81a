# syntax=docker/dockerfile:1
# pixelmill-flows: everything of a fleet that has no device. The Prefect server and its services, bursts, deployments,
# the gallery, and the `pixelmill` command for people. Context: the repository's root.
ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG UV_VERSION=0.13.8
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
RUN pip install --no-cache-dir "uv==${UV_VERSION}" && uv venv /opt/pixelmill
WORKDIR /src
# The dependencies change seldom: a layer of their own.
COPY docker/requirements-flows.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /opt/pixelmill --require-hashes -r requirements-flows.lock
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
    PREFECT_SERVER_UI_STATIC_DIRECTORY=/tmp/prefect-ui \
    DO_NOT_TRACK=1
USER 10001:10001
WORKDIR /var/lib/pixelmill
# Whether the bursts' worker, which this image runs unless told otherwise, still polls.
HEALTHCHECK --interval=15s --timeout=10s --start-period=90s CMD ["health", "http", "http://127.0.0.1:8080/health"]
CMD ["prefect", "worker", "start", "--pool", "bursts", "--type", "process", "--with-healthcheck"]
