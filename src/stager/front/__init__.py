"""The data plane: one small process through which every preview, and Stager itself, is reached.

`python -m stager.front` runs it. The control plane starts and finds it with `launcher.FrontLauncher` and
talks to it with `client.FrontClient`. Only the standard library and `stager.domain` are imported here,
because the front serves on while everything else is being restarted, upgraded or repaired.

From the outside in: `server` owns the sockets, `downstream` speaks with a client, `exchange` is one request
and its response, `upstream` speaks with an app; `head`, `body` and `headers` are the pure HTTP/1.1
underneath.
"""
