# Stands in for the images of Redis and PostgreSQL where no registry is in reach: Debian's packages of both.
ARG BASE
FROM ${BASE}
RUN apt-get update --quiet=2 \
 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends redis-server postgresql \
 && rm -rf /var/lib/apt/lists/* /var/lib/postgresql/* \
 && install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data /run/postgresql
COPY --chmod=0755 postgres.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin PGHOST=/tmp
VOLUME ["/var/lib/postgresql/data"]
CMD ["postgres.sh"]
