import os

from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return f"flask, greeting {os.environ['GREETING']}, secret of {len(os.environ['SECRET_KEY'])}"
