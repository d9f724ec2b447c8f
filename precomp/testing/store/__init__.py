"""`StoreTests`: the whole contract of `precomp.interfaces.Store`."""

from precomp.testing.store.ahead import AheadTests
from precomp.testing.store.conditions import ConditionTests
from precomp.testing.store.keys import KeyTests
from precomp.testing.store.objects import ObjectTests
from precomp.testing.store.threads import ThreadTests

__all__ = ["StoreTests"]


class StoreTests(ObjectTests, KeyTests, ConditionTests, ThreadTests, AheadTests):
    """Every promise of a `Store`. Subclass it in a test module and give `make_store`:

        class TestScratch(StoreTests):
            def make_store(self):
                return ScratchStore()

    pytest then collects the tests. `StoreKit` describes the other hooks and the switches.
    """
