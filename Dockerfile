# Stager itself, in a container: docs/how-to/install-with-docker.md.
#   docker build --tag stager .
# BASE is a Debian 13 or an image made of one, such as the default; it needs apt-get and Python 3.11 or later.
ARG BASE=python:3.12-slim

FROM ${BASE} AS base
RUN set -eu; \
    packages="ca-certificates docker-buildx docker-cli git git-lfs"; \
    python3 -c "import ensurepip" 2>/dev/null || packages="$packages python3-venv"; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages; \
    rm -rf /var/lib/apt/lists/*

FROM base AS build
# COMPILED=off leaves out the C compiler, and the front takes more processor time for each request.
ARG COMPILED=on
ARG PIP_INDEX_URL
RUN set -eu; \
    if [ "$COMPILED" != on ]; then exit 0; fi; \
    packages="gcc libc6-dev"; \
    [ -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || packages="$packages python3-dev"; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages
WORKDIR /source
COPY requirements/server.txt requirements/wheel.txt requirements/
RUN python3 -m venv /opt/stager && /opt/stager/bin/pip install --no-cache-dir --require-hashes -r requirements/server.txt && \
    python3 -m venv /opt/wheel && /opt/wheel/bin/pip install --no-cache-dir --require-hashes -r requirements/wheel.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY src src
RUN STAGER_COMPILED="$COMPILED" /opt/wheel/bin/python -m hatchling build -t wheel -d /wheel && \
    /opt/stager/bin/pip install --no-deps --no-index /wheel/*.whl && \
    /opt/stager/bin/pip uninstall --yes pip

FROM base
COPY --from=build /opt/stager /opt/stager
ENV PATH=/opt/stager/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /var/lib/stager
ENTRYPOINT ["stager"]
CMD ["serve"]
