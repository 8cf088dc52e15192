"""`python -m bench.nowork SOCKET`: the webhook's route without any work. It answers 202 to every request,
by the same web framework and server as Stager's own, and so measures what these and the front cost."""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.post("/event_receiver")
async def event_receiver() -> PlainTextResponse:
    """Answer without reading the request."""
    return PlainTextResponse("accepted", 202)


if __name__ == "__main__":
    uvicorn.run(app, uds=sys.argv[1], log_config=None, access_log=False, lifespan="off", proxy_headers=True)
