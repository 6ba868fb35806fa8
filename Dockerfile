# The worker as Kafka-ML's backend starts it: without a shell in between, so that SIGTERM reaches Python, and not as root.
FROM python:3.11.14-slim-bookworm

# requirements-gpu.txt brings CUDA along, requirements-observability.txt what tells of the rounds, requirements-registry.txt what asks
# a schema registry; several, with a blank between them.
ARG REQUIREMENTS=requirements.txt

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2

WORKDIR /usr/src/app

# Nothing is compiled, here or later: a quarter of TensorFlow is headers, and libclang is a compiler's.
COPY requirements.txt requirements-gpu.txt requirements-observability.txt requirements-registry.txt constraints.txt ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check $(printf -- "-r %s " $REQUIREMENTS) \
    && python -m pip uninstall --yes --disable-pip-version-check libclang \
    && rm -r "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tensorflow/include"

COPY *.py ./
COPY blockchain ./blockchain
COPY checking ./checking
COPY decoding ./decoding
COPY observing ./observing
COPY protocol ./protocol
COPY training ./training
COPY transport ./transport

RUN useradd --system --uid 10001 --no-create-home worker
USER 10001

CMD ["python", "federated_training.py"]
