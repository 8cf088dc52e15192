"""What tests are made with: implementations of the ports that live in memory and hold still.

They are for plugin authors as much as for our own tests, and pass the same contract suites as the real
drivers.
"""

from stager.testing.clock import FakeClock, SequentialIds
from stager.testing.memory_store import MemoryStore

__all__ = ["FakeClock", "MemoryStore", "SequentialIds"]
