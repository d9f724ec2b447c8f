"""`CodecTests`: the whole contract of `precomp.interfaces.Codec` and its optional protocols."""

from precomp.testing.codec.base import Golden
from precomp.testing.codec.damage import DamageTests
from precomp.testing.codec.labels import LabelTests
from precomp.testing.codec.parts import PartTests
from precomp.testing.codec.round_trip import RoundTripTests

__all__ = ["CodecTests", "Golden"]


class CodecTests(RoundTripTests, DamageTests, PartTests, LabelTests):
    """Every promise of a `Codec`. Subclass it in a test module and give `plugin`:

        class TestXz(CodecTests):
            plugin = precomp_register_codecs()[0]

    pytest then collects the tests. `CodecKit` describes the other hooks and the switches.
    """
