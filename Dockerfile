# The worker as Kafka-ML's backend starts it: without a shell in between, so that SIGTERM reaches Python, and not as root.
FROM python:3.11.14-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2

WORKDIR /usr/src/app

COPY requirements.txt constraints.txt ./
RUN python -m pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

COPY *.py ./
COPY decoding ./decoding
COPY protocol ./protocol
COPY training ./training
COPY transport ./transport

RUN useradd --system --uid 10001 --no-create-home worker
USER 10001

CMD ["python", "federated_training.py"]
