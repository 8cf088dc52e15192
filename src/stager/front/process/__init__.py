"""The front's process: sockets, the control socket, TLS, and the control plane's end of both."""
