# nginx, and `banksight proxy`, which writes its configuration and keeps its list of nodes true.
ARG BASE=docker.io/library/python:3.11.13-slim-bookworm
FROM ${BASE} AS packages
COPY constraints.txt /build/
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv /opt/banksight \
 && /opt/banksight/bin/python -m pip install --no-cache-dir --no-compile --only-binary :all: \
      --constraint /build/constraints.txt click filelock httpx pydantic pyyaml rich \
 && /opt/banksight/bin/python -m pip uninstall --yes pip setuptools
COPY sbom.py /build/
RUN mkdir -p /opt/banksight/share && /opt/banksight/bin/python /build/sbom.py > /opt/banksight/share/sbom.cdx.json

FROM ${BASE}
RUN apt-get update --quiet=2 \
 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends nginx-light \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin banksight \
 && install -d -o 10001 -g 10001 /var/lib/banksight
COPY --from=packages /opt/banksight /opt/banksight
COPY rag /opt/banksight/app/rag
COPY connectors /opt/banksight/app/connectors
COPY configs /opt/banksight/app/configs
COPY proxy.yaml /opt/banksight/app/configs/
ENV PATH=/opt/banksight/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    PYTHONPATH=/opt/banksight/app PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BANKSIGHT_PROFILE=proxy BANKSIGHT_DATA_DIR=/var/lib/banksight HOME=/tmp
USER 10001:10001
WORKDIR /tmp
VOLUME ["/var/lib/banksight"]
EXPOSE 443 80
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=10s \
  CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 443), 2)"]
CMD ["python", "-m", "rag.cli", "proxy", "run"]
# Last, because what stands below a line that changed is built and pushed anew.
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="banksight-proxy" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      banksight.sbom="/opt/banksight/share/sbom.cdx.json"
