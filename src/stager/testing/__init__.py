"""In-memory implementations of the ports, for tests.

They are for plugin authors as well as for Stager's own tests, and pass the same contract tests as the
drivers.
"""

from stager.testing.fakes.builder import FakeBuilder, Result
from stager.testing.fakes.certificates import FakeCertificates
from stager.testing.fakes.clock import FakeClock, SequentialIds
from stager.testing.fakes.data import FakeData
from stager.testing.fakes.edge_proxy import FakeEdgeProxy
from stager.testing.fakes.engine import FakeEngine
from stager.testing.fakes.faults import FaultMode
from stager.testing.fakes.firewall import FakeFirewall
from stager.testing.fakes.forge import FakeForge
from stager.testing.fakes.program import Program
from stager.testing.fakes.router import FakeRouter
from stager.testing.fakes.sources import FakeSources, SourceFaultMode
from stager.testing.fakes.store import MemoryStore

__all__ = [
    "FakeBuilder",
    "FakeCertificates",
    "FakeClock",
    "FakeData",
    "FakeEdgeProxy",
    "FakeEngine",
    "FakeFirewall",
    "FakeForge",
    "FakeRouter",
    "FakeSources",
    "FaultMode",
    "MemoryStore",
    "Program",
    "Result",
    "SequentialIds",
    "SourceFaultMode",
]
