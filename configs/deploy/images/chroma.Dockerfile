# The Chroma server, of the version that our client has. It asks nobody who they are: private networks only.
ARG BASE=docker.io/library/python:3.11.13-slim-bookworm
FROM ${BASE} AS packages
COPY constraints.txt /build/
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv /opt/banksight \
 && /opt/banksight/bin/python -m pip install --no-cache-dir --no-compile --only-binary :all: \
      --constraint /build/constraints.txt chromadb \
 && /opt/banksight/bin/python -m pip uninstall --yes pip setuptools
COPY sbom.py /build/
RUN mkdir -p /opt/banksight/share && /opt/banksight/bin/python /build/sbom.py > /opt/banksight/share/sbom.cdx.json

FROM ${BASE}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin banksight \
 && install -d -o 10001 -g 10001 /var/lib/chroma
COPY --from=packages /opt/banksight /opt/banksight
ENV PATH=/opt/banksight/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 ANONYMIZED_TELEMETRY=False ORT_DISABLE_TELEMETRY=1 HOME=/tmp
USER 10001:10001
WORKDIR /tmp
VOLUME ["/var/lib/chroma"]
EXPOSE 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8001/api/v2/heartbeat', timeout=2)"]
CMD ["chroma", "run", "--path", "/var/lib/chroma", "--host", "0.0.0.0", "--port", "8001"]
# Last, because what stands below a line that changed is built and pushed anew.
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="banksight-chroma" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      banksight.sbom="/opt/banksight/share/sbom.cdx.json"
