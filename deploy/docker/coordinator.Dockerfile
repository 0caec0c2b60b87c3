# The coordinator. Build from the repository's root: docker build -f deploy/docker/coordinator.Dockerfile .
FROM python:3.11-slim
RUN useradd --create-home --uid 10001 sealora
COPY . /source
RUN pip install --no-cache-dir -c /source/requirements/run.txt /source && rm -r /source
USER sealora
WORKDIR /state
ENV HF_HUB_OFFLINE=1
EXPOSE 8443
ENTRYPOINT ["sealora", "server"]
