# API nodes and the worker, from a bento that `make bento` built. configs/deploy/images/build.sh calls this.
ARG BASE=docker.io/library/python:3.11.13-slim-bookworm
FROM ${BASE} AS packages
ARG TARGET
COPY env/python/requirements.txt src/bentos/targets /build/
# PIP_EXTRA_INDEX_URL comes from whoever builds and is in no layer of the result.
ARG PIP_EXTRA_INDEX_URL
RUN python3 -m venv /opt/banksight \
 && /opt/banksight/bin/python -m pip install --no-cache-dir --no-compile --only-binary :all: \
      --constraint /build/${TARGET}.txt --requirement /build/requirements.txt \
 && /opt/banksight/bin/python -m pip uninstall --yes pip setuptools
COPY sbom.py /build/
RUN mkdir -p /opt/banksight/share && /opt/banksight/bin/python /build/sbom.py > /opt/banksight/share/sbom.cdx.json

# The exported encoder, so that no node makes it when it starts; of our code only what makes it.
FROM packages AS encoder
COPY src/rag/__init__.py src/rag/errors.py /build/rag/
COPY src/rag/models/__init__.py src/rag/models/onnx_export.py src/rag/models/onnx_file.py src/rag/models/weights.py /build/rag/models/
RUN cd /build && /opt/banksight/bin/python -m rag.models.onnx_export --to /opt/encoder

FROM ${BASE}
ARG TARGET
# Numbers, because Kubernetes cannot tell from a name that it is not root.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin banksight \
 && install -d -o 10001 -g 10001 /var/lib/banksight /files /weights
# restic saves backups. A base that has it needs no way to Debian.
RUN command -v restic > /dev/null \
 || { apt-get update -qq && apt-get install -qq --yes --no-install-recommends restic && rm -rf /var/lib/apt/lists/*; }
COPY --from=packages /opt/banksight /opt/banksight
COPY --from=encoder /opt/encoder /opt/banksight/share/encoder
COPY --chmod=0755 banksight worker.sh backup.sh /usr/local/bin/
# A layer of its own: of two releases with the same packages only this is pushed and pulled.
COPY src /opt/banksight/app
RUN cd /opt/banksight/app && BANKSIGHT_TARGET=${TARGET} PYTHONDONTWRITEBYTECODE=1 /opt/banksight/bin/python -m bentos.targets
# The slim base lacks the two variables by which the container runtime hands over a card.
ENV PATH=/opt/banksight/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    PYTHONPATH=/opt/banksight/app PYTHONUTF8=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    BANKSIGHT_PROFILE=production BANKSIGHT_TARGET=${TARGET} BANKSIGHT_DATA_DIR=/var/lib/banksight \
    BANKSIGHT_ENCODER_DIR=/opt/banksight/share/encoder \
    BENTOML_DO_NOT_TRACK=True ANONYMIZED_TELEMETRY=False HF_HUB_DISABLE_TELEMETRY=1 ORT_DISABLE_TELEMETRY=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
VOLUME ["/var/lib/banksight"]
EXPOSE 3000
STOPSIGNAL SIGTERM
# Of an API node; the worker has its own, `worker.sh check`.
HEALTHCHECK --interval=10s --timeout=3s --retries=3 --start-period=10m \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"]
CMD ["banksight", "serve"]
# Last, because what stands below a line that changed is built and pushed anew.
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="banksight-backend" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      banksight.target="${TARGET}" \
      banksight.sbom="/opt/banksight/share/sbom.cdx.json"
