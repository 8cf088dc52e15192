"""The data plane: the reverse proxy, a small process, in front of all previews and of Stager itself.

`python -m stager.front` runs it. The control plane starts it with `process.launcher.FrontLauncher` and
controls it with `process.client.FrontClient`. The front imports only the standard library and
`stager.domain`, because it keeps running while everything else is restarted, upgraded or repaired.

The packages, from top to bottom: `process` has the sockets, the start and the hand-over to a successor;
`proxy` has the connections of clients (`downstream`) and to apps (`upstream`) and one request with its
response (`exchange`); `table` has the live route table; `http` reads and writes HTTP/1.1, without I/O.
"""
