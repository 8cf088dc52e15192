"""What tests are made with: implementations of the ports that live in memory and hold still.

They are for plugin authors as much as for our own tests, and pass the same contract suites as the real
drivers.
"""

from stager.testing.builder import FakeBuilder, Result
from stager.testing.clock import FakeClock, SequentialIds
from stager.testing.engine import FakeEngine, Program
from stager.testing.firewall import FakeFirewall
from stager.testing.forge import FakeForge
from stager.testing.memory_store import MemoryStore
from stager.testing.moods import Mood
from stager.testing.outpost import FakeOutpost
from stager.testing.router import FakeRouter
from stager.testing.sources import FakeSources, SourceMood

__all__ = [
    "FakeBuilder",
    "FakeClock",
    "FakeEngine",
    "FakeFirewall",
    "FakeForge",
    "FakeOutpost",
    "FakeRouter",
    "FakeSources",
    "MemoryStore",
    "Mood",
    "Program",
    "Result",
    "SequentialIds",
    "SourceMood",
]
