# A site's link: the TLS key and a connection. What it needs is named, so that neither torch nor data frames are here.
FROM python:3.11-slim
RUN useradd --create-home --uid 10001 sealora && install -d -o sealora /run/sealora
COPY . /source
RUN pip install --no-cache-dir --no-deps /source \
    && pip install --no-cache-dir cryptography grpcio numpy prometheus-client protobuf pydantic rich safetensors typer \
    && rm -r /source
USER sealora
WORKDIR /site
ENTRYPOINT ["sealora", "site", "link"]
