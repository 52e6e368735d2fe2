# One small image for every service; which one it is, the command says.
FROM python:3.12-slim AS build
WORKDIR /build
RUN python -m venv /venv
COPY requirements.lock pyproject.toml README.md LICENSE ./
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY gateway gateway
COPY ingest ingest
COPY analytics analytics
COPY dashboards dashboards
COPY simulators simulators
COPY poolwatch poolwatch
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends mosquitto && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home poolwatch && install -d -o poolwatch /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
USER poolwatch
VOLUME /data
ENTRYPOINT ["poolwatch"]
