# One image for every role: `router`, `controller`, `serve`, and the commands that watch and act.
#   docker build -t extproc .
#   docker run --rm -v ./release.yaml:/etc/extproc/release.yaml:ro -v extproc:/var/lib/extproc -v run:/run/extproc extproc serve
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY extproc ./extproc
RUN python -m venv /opt/extproc \
 && /opt/extproc/bin/pip install --no-cache-dir --disable-pip-version-check -c requirements.lock '.[judge]'

FROM python:3.11-slim
# Sockets and the store are the only places that are written to; both are volumes.
RUN groupadd --system --gid 10001 extproc \
 && useradd --system --uid 10001 --gid extproc --home-dir /var/lib/extproc --shell /usr/sbin/nologin extproc \
 && install -d -o extproc -g extproc -m 0750 /var/lib/extproc /run/extproc \
 && install -d -m 0755 /etc/extproc
COPY --from=build /opt/extproc /opt/extproc
ENV PATH=/opt/extproc/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER extproc
VOLUME ["/var/lib/extproc", "/run/extproc"]
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["extproc", "health"]
ENTRYPOINT ["extproc"]
CMD ["serve", "--spec", "/etc/extproc/release.yaml"]
