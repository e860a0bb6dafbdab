# A worker of a study on a processor: `docker build -t nas-video .`, then docs/workers.md. For graphics cards, take a base
# image with CUDA, and leave the index of CPU packages out.
FROM python:3.13-slim

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY nas nas
RUN pip install --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch \
    && pip install --constraint constraints.txt ".[clip,postgres]"

# The space, the table, the supernet and the clips are mounted here.
WORKDIR /project
RUN useradd --uid 1000 --create-home worker
USER 1000
ENTRYPOINT ["nas"]
CMD ["--help"]
