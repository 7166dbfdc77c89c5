"""Peers: the programs that this project is measured beside, each run in an environment of its own by a script here."""
