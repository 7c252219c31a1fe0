# The chat: Chainlit and our package `ui`, which imports nothing else of ours.
ARG BASE=docker.io/library/python:3.11.13-slim-bookworm
FROM ${BASE} AS packages
COPY constraints.txt /build/
ARG PIP_EXTRA_INDEX_URL
# cuid, literalai and syncer, which Chainlit needs, are published as source only; they are plain Python.
RUN python3 -m venv /opt/banksight \
 && /opt/banksight/bin/python -m pip install --no-cache-dir --no-compile --only-binary :all: --no-binary cuid,literalai,syncer \
      --constraint /build/constraints.txt alembic argon2-cffi Authlib chainlit click cryptography httpx httpx2 itsdangerous joserfc "psycopg[binary]" pydantic PyJWT \
      sqlalchemy \
 && /opt/banksight/bin/python -m pip uninstall --yes pip setuptools
# Compiled here: on a read-only root every start would compile again, and Chainlit's takes long enough.
RUN /opt/banksight/bin/python -m compileall -q /opt/banksight/lib || true
COPY sbom.py /build/
RUN mkdir -p /opt/banksight/share && /opt/banksight/bin/python /build/sbom.py > /opt/banksight/share/sbom.cdx.json

FROM ${BASE}
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin banksight \
 && install -d -o 10001 -g 10001 /var/lib/banksight
COPY --from=packages /opt/banksight /opt/banksight
COPY ui /opt/banksight/app/ui
ENV PATH=/opt/banksight/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/banksight/app PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BANKSIGHT_DATA_DIR=/var/lib/banksight HOME=/tmp
USER 10001:10001
WORKDIR /tmp
VOLUME ["/var/lib/banksight"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=30s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
CMD ["python", "-c", "from ui.commands import ui; ui()", "--host", "0.0.0.0"]
# Last, because what stands below a line that changed is built and pushed anew.
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="banksight-ui" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      banksight.sbom="/opt/banksight/share/sbom.cdx.json"
