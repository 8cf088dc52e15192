ARG BASE=stager-base/python-build:1
FROM ${BASE}
WORKDIR /app
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
COPY . .
CMD ["python3", "manage.py", "runserver", "--noreload", "0.0.0.0:8000"]
