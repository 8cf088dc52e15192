"""Reads a repository's Compose file into services, strictly: what can't run as written is refused."""

from stager.project.compose.reader import NAMES, read
from stager.project.compose.result import Note, Options, Place, Proposal, Reading, Refusal

__all__ = ["NAMES", "Note", "Options", "Place", "Proposal", "Reading", "Refusal", "read"]
