"""A forge without accounts: a bare repository on this machine, in which every branch but the default one is a
change.

The state is read from git (`register`, `repository`); the post-receive hook only triggers that (`hook`,
`push_client`). A push that the hook couldn't report is found by the next resync.
"""
