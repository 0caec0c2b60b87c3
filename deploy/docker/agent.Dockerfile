# A site's agent: data, model and identity key, and no network when it runs.
FROM python:3.11-slim
RUN useradd --create-home --uid 10001 sealora && install -d -o sealora /run/sealora
COPY . /source
RUN pip install --no-cache-dir -c /source/requirements/run.txt /source && rm -r /source
USER sealora
WORKDIR /site
ENV HF_HUB_OFFLINE=1
ENTRYPOINT ["sealora", "site", "agent"]
