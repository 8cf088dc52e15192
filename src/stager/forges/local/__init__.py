"""A forge without an account: a bare repository on this machine, in which every branch but the default one is
a change.

git is asked what is the case (`register`, by way of `forge`); the hook only wakes (`hook`, `pushed`). So a
push that nobody told of is found by the next resync.
"""
