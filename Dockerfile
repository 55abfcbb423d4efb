# syntax=docker/dockerfile:1

# 3.13: the newest Python for which every wheel of the [local] extra exists on x86-64 and on arm64.
ARG PYTHON_VERSION=3.13

FROM python:${PYTHON_VERSION}-slim AS build
# `--build-arg EXTRAS=local` adds the local engines. espeak-ng among them is GPL-3; see NOTICE before you pass such an image on.
ARG EXTRAS=""
WORKDIR /src
COPY deploy/requirements.lock pyproject.toml README.md LICENSE NOTICE ./
COPY proxy proxy
# Only what the lock holds is downloaded, and nothing else is installed; `.ci/lock` writes it, for this Python and newer ones.
# The environment gets no pip of its own: the image needs none to run.
RUN python3 -m venv --without-pip /app/venv \
    && python3 -m venv /tmp/tools \
    && /tmp/tools/bin/pip download --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
        --dest /tmp/locked --requirement requirements.lock \
    && /tmp/tools/bin/pip install --no-index --find-links /tmp/locked hatchling \
    && /tmp/tools/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /tmp/wheel . \
    && /tmp/tools/bin/pip --python /app/venv/bin/python install --no-cache-dir --no-index --find-links /tmp/locked \
        "$(echo /tmp/wheel/*.whl)${EXTRAS:+[${EXTRAS}]}"

FROM python:${PYTHON_VERSION}-slim
LABEL org.opencontainers.image.title="audio-proxy" \
      org.opencontainers.image.description="An OpenAI-compatible proxy for audio" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that Kubernetes can see that it is not root. OpenShift picks another user, whose group is 0.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin audio-proxy \
    && install --directory --owner=10001 --group=0 --mode=0770 /data
COPY --from=build /app/venv /app/venv
# Where virtual keys and calls are stored, and the configuration of commands without --config (docker exec … keys list).
ENV AUDIO_PROXY_DATA=/data \
    AUDIO_PROXY_CONFIG=/app/config.yaml \
    PATH=/app/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /app
VOLUME /data
USER 10001:10001
EXPOSE 4000
STOPSIGNAL SIGTERM
# http.client and not urllib, which would ask a proxy named in $HTTP_PROXY.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 4000, timeout=4); c.request('GET', '/health/liveliness'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["audio-proxy"]
CMD ["--config", "/app/config.yaml"]
