"""The kit finds mistakes: each wrong store, codec, compressor and plugin fails, with a fitting message."""

import os
import re
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # one run of pytest for all of them

HERE = Path(__file__).parent

# What must fail for whom: the test, and what its message says.
STORES = {
    "DropsEmptyObjects": (
        "test_what_was_put_comes_back",
        r"get after put of 0 bytes: expected b'', found None",
    ),
    "TakesEmptyForAbsent": ("test_what_was_put_comes_back", r"put of 0 bytes: expected b'', found None"),
    "DecodesPercent": ("test_every_legal_key_is_kept", r"get\('a b/c'\), one of many keys"),
    "CutsAtHash": ("test_every_legal_key_is_kept", r"get\('hash'\), one of many keys"),
    "FoldsCase": ("test_every_legal_key_is_kept", r"list\(''\): found too much: \['mesh\.d/info', "),
    "TrimsKeys": ("test_every_legal_key_is_kept", r"get\('trailing'\), one of many keys"),
    "ListsTooMuch": ("test_list", r"list\('8_8_40/'\).*found too much: \['8_8_400/0-1_0-1_0-1'\]"),
    "ListsFolders": ("test_list", r"list\('8_8_40/0-'\).*did not find \['8_8_40/0-64_0-64_0-64'\]"),
    "ListsOnePage": ("test_list_gives_all_pages", r"list of 1005 keys: found 1000; are all pages read"),
    "ListsAbsolute": ("test_list", r"found too much: \['bucket/layer/info'"),
    "ListsTwice": ("test_the_content_encoding_is_kept", r"expected the object once"),
    "KeepsTheBuffer": ("test_the_callers_buffer_is_not_kept", r"memoryview that it had given to put: "),
    "KeepsByteArrays": ("test_the_callers_buffer_is_not_kept", r"bytearray that it had given to put: "),
    "KeepsTheBufferOnACondition": ("test_the_callers_buffer_is_not_kept", r"given to put on a version: "),
    "KeepsTheBufferOfAnUpdate": ("test_the_callers_buffer_is_not_kept", r"given to update: "),
    "ListsByPattern": ("test_a_prefix_is_no_pattern", r"list\('\[ab\]/'\): found too much: \['a/x', 'b/x'\]"),
    "LendsItsBuffer": ("test_what_get_returned_is_the_callers", r"changed what get had returned"),
    "WritesInTwoSteps": ("test_readers_never_see_a_mix", r"found a mix or a part of what was put"),
    "DeletesFirst": ("test_readers_never_see_a_mix", r"it was not there"),
    "IgnoresRanges": ("test_ranges", r"ByteRange\(3, 7\)\).*expected b'3456', found b'0123456789'"),
    "TellsNoSize": ("test_ranges", r"expected Blob\.size 10, the whole object's, found None"),
    "TellsThePartsSize": ("test_ranges", r"expected Blob\.size 10, the whole object's, found 4"),
    "RangesIncludeTheirEnd": ("test_ranges", r"ByteRange\(3, 7\)\).*expected b'3456', found b'34567'"),
    "TakesErrorsForAbsence": ("test_illegal_keys_are_refused", r"get with the illegal key .*returned None"),
    "TakesFailuresForAbsence": ("test_a_failing_service_is_an_error", r"get while .* it returned None"),
    "IgnoresConditions": ("test_create_only", r"expected ConditionFailedError, it returned"),
    "ChecksConditionsTooEarly": ("test_one_of_many_creators_wins", r"expected one to win, [2-4] did"),
    "GivesNoVersions": ("test_no_update_is_lost", r"gave no version|no versions"),
    "UpdatesWithoutALock": ("test_no_update_is_lost", r"expected b'40', found"),
    "ForgetsTheEncoding": ("test_the_content_encoding_is_kept", r"'gzip'.*found content_encoding None"),
    "ForgetsTheEncodingOnACondition": (
        "test_it_behaves_like_a_dict",
        r"expected \(b'.*', '(gzip|br|zstd)'(, \d+)?\), found \(b'.*', None(, \d+)?\)",
    ),
    "ReadsIntoMemoryWhateverTheSize": ("test_reads_into_memory", r"as 9 bytes, 0 to 9: expected False"),
    "ReadsCompressedIntoMemory": ("test_reads_into_memory", r"compressed with 'gzip': expected False"),
    "ForgetsThePlaceInMemory": ("test_reads_into_memory", r"expected \[b'3456'\], found \[b'0123'\]"),
    "RemembersWhatWasAskedFor": (
        "test_what_is_not_used_does_no_harm",
        r"written after it had been asked for: expected b.object number 000., found b.written",
    ),
    "GivesWhateverWasAskedFor": ("test_what_was_asked_for_is_there", r"where .* was asked for: expected"),
    "ForgetsThePartAskedFor": ("test_what_was_asked_for_is_there", r"of another part than was asked for"),
    "ReplacesBeforeItRefuses": ("test_it_behaves_like_a_dict", r"expected .*, found "),
    "TakesAnyKey": ("test_illegal_keys_are_refused", r"get with the illegal key 'a//b'.*returned None"),
    "MissesWhatIsAbsent": ("test_deleting_what_is_absent_is_fine", r"KeyError"),
    "DeletesTooMuch": (
        "test_delete",
        r"get\('mesh/1:0:0-64_0-64_0-64'\) after other keys were deleted.*found None",
    ),
    "DeletesTheFirst": ("test_delete", r"after delete\(\['mesh/1:0'\]\): expected None"),
    "SharesItsObjects": ("test_a_new_store_is_empty", r"in an empty store: expected None, found"),
    "NeverChangesItsVersion": ("test_other_content_has_another_version", r"found version '1' again"),
    "PlainAndSilentAboutConditions": (
        "test_a_condition_is_never_ignored",
        r"which the store cannot check: expected PrecompError, it returned None",
    ),
    "PlainAndSilentAboutEncodings": (
        "test_a_content_encoding_that_is_not_kept_is_refused",
        r"'gzip', which `encodings` does not list: expected PrecompError, it returned None",
    ),
    "ReadOnlyAndSilentAboutWrites": (
        "test_a_read_only_store_says_so",
        r"put to a read-only store: expected ReadOnlyError, it returned None",
    ),
    "ReadOnlyAndSilentAboutLists": (
        "test_a_store_that_cannot_list_says_so",
        r"listable = False: expected PrecompError, it returned \[\]",
    ),
}
CODECS = {
    "SwapsAxes": ("test_every_memory_order", r"voxels are wrong \(x and y are swapped in reading\)"),
    "SwapsAxesBothWays": ("test_golden", r"golden\[0\].*\(x and y are swapped in reading\)"),
    "SwapsYAndZBothWays": ("test_golden", r"golden\[0\].*\(y and z are swapped in reading\)"),
    "GoldenIsFlat": ("test_golden", r"found chunks of \[\(2, 2, 1\)\].*add one of 2 x 3 x 4"),
    "WritesInCOrder": ("test_round_trip", r"written in C order and read in Fortran order"),
    "WritesInMemoryOrder": ("test_every_memory_order", r"encode of C order.*voxels are wrong"),
    "ReversesChannels": ("test_round_trip", r"the channels are in reverse order"),
    "PadsTheEdge": ("test_round_trip", r"expected shape \(7, 5, 3, 1\).*found \(64, 64, 64, 1\)"),
    "FillsUpWithZeros": ("test_truncation", r"first \d+ of 214 bytes, .*: expected an error, found a chunk"),
    "TrustsTheHeader": ("test_flipped_bits", r"bytes of memory; check sizes before memory is allocated"),
    "ReturnsBigEndian": ("test_round_trip", r"expected dtype uint16, found >u2"),
    "DropsTheChannelAxis": ("test_round_trip", r"expected shape \(7, 5, 3, 1\).*found \(7, 5, 3\)"),
    "ReusesItsArray": ("test_decode_does_not_share_its_results", r"the chunk decoded before the last one"),
    "LendsTheChunk": ("test_encode_does_not_lend_the_chunk", r"the chunk's own memory, writable"),
    "ChangesTheChunk": ("test_every_memory_order", r"it changed the chunk"),
    "RoundsInSecret": ("test_round_trip", r"voxels are wrong; the first is"),
    "IgnoresTheBox": ("test_decode_into", r"decode_into, .*, box .*voxels are wrong"),
    "WritesBesideTheBox": ("test_decode_into", r"it wrote beside the array"),
    "IgnoresThePoints": ("test_decode_points", r"decode_points, .* 1 points, .*voxels are wrong"),
    "SortsThePoints": (
        "test_decode_points",
        r"decode_points, .* points, against decode: .*(wrong|expected shape)",
    ),
    "FindsPointsInDamage": (
        "test_decode_points_refuses_damage",
        r"first \d+ of \d+ bytes, .*: expected an error",
    ),
    "ForgetsTheHeader": ("test_layout", r"layout, .*voxels are wrong"),
    "TellsAnotherSize": ("test_layout", r"layout, .*size 210, the encoded chunk has 214 bytes"),
    "ReachesBeyondTheEnd": ("test_layout", r"layout, .*reaches out of the 214 bytes"),
    "ListsLabelsOfOthers": ("test_labels_in", r"labels_in, .*, few labels, box .*: in no voxel: \[\d+"),
    "ListsStaleLabels": ("test_labels_in", r"labels_in, .*: in no voxel: \[4711\]"),
    "ForgetsALabel": ("test_labels_in", r"labels_in, .*: not listed: \[\d+"),
    "ListsWideLabels": ("test_labels_in", r"expected one axis of uint16, found uint64"),
    "ListsZeroForDamage": ("test_labels_in_refuses_damage", r"first 0 of \d+ bytes, .*: expected an error"),
    "NeverLists": ("test_labels_in", r"found None for every box of every chunk"),
    "LossyAndSwapped": ("test_every_memory_order", r"x and y are swapped in reading"),
    "LosesTooMuch": ("test_round_trip", r"voxels are wrong; the first is"),
}
COMPRESSORS = {
    "HasNoBound": ("test_a_bomb", r"with max_size 1000: expected ValueError, it returned"),
    "CutsAtTheBound": ("test_a_limit_that_is_too_small", r"expected ValueError, it returned"),
    "ChecksTheBoundTooLate": ("test_a_bomb", r"it took [\d,]+ bytes of memory"),
    "TakesOneTooFew": ("test_round_trip", r"ValueError"),
    "IgnoresWhatFollows": ("test_more_than_a_stream", r"and b'.x00': expected ValueError, it returned"),
    "RaisesItsOwnError": ("test_damage", r"expected a ValueError, it raised error\("),
    "ReusesItsBuffer": ("test_buffers_are_not_shared", r"compress: what it returned changed"),
}
SERVICES = {
    "LendsItsInfo": ("test_the_info", r"what it returned was changed"),
    "KeepsWhereZero": ("test_boxes_against_an_array", r"after write_box number \d+ .*voxels are wrong"),
    "DropsZeroSums": ("test_boxes_against_an_array", r"after write_box number \d+ .*voxels are wrong"),
    "ReadsZYX": ("test_boxes_against_an_array", r"voxels are wrong"),
    "WritesMemoryOrder": ("test_every_memory_order", r"read_box after write_box of C order"),
    "LendsItsVoxels": ("test_arrays_are_not_shared", r"after what it returned has changed"),
    "ForgetsTheMip": ("test_mips_are_apart", r"read_box of mip 1"),
    "SplitsWithAGap": ("test_split", r"the parts have \d+ voxels, the box \d+"),
    "SplitsTwice": ("test_split", r"in several parts"),
    "IgnoresSegids": ("test_segments", r"read_segments of 1 ids, \[3\]"),
    "CreatesOverAnother": ("test_create", r"create of another layer in its place: expected InfoError"),
    "CreatesAnew": ("test_create", r"read_box after a second create"),
    "WritesLate": ("test_threads", r"slabs that were written and read by four threads"),
}
PLUGINS = {
    "HeavyPlugin": (
        "test_loading_is_cheap",
        r"loading heavy_plugin imports sqlite3; import it inside `open`",
    ),
    "ChattyPlugin": ("test_loading_is_cheap", r"loading chatty_plugin prints 'hello'"),
    "LatePlugin": ("test_a_missing_sdk_is_told", r"encoding 'late' without sqlite3: nothing was raised"),
    "SilentPlugin": (
        "test_a_missing_sdk_is_told",
        r"compressor 'silent' without sqlite3: it has no install_hint",
    ),
    "EmptyPlugin": ("test_it_declares_what_it_provides", r"it provides nothing"),
    "MisspeltPlugin": ("test_it_declares_what_it_provides", r"did you mean 'precomp_register_codecs'"),
    "NotInstalledPlugin": ("test_it_is_installed", r"precomp has no entry point for 'right_plugin'"),
}
WRONG = STORES | CODECS | COMPRESSORS | SERVICES | PLUGINS
RIGHT = (
    "RightStore",
    "ReadsIntoMemory",
    "AsksAheadOfGet",
    "RightPlainStore",
    "RightReadOnlyStore",
    "RightCodec",
    "Listing",
    "RightLossyCodec",
    "RightCompressor",
    "RightService",
    "RightPlugin",
)

_HEAD = "from precomp.hookspecs import CodecPlugin, CompressorPlugin, hookimpl\n"
MODULES = {
    "right": """
        def build(info, scale):
            import sqlite3
        @hookimpl
        def precomp_register_codecs():
            return [CodecPlugin("right", build, install_hint="pip install it", requires=("sqlite3",))]
        """,
    "heavy": """
        import sqlite3
        @hookimpl
        def precomp_register_codecs():
            return [CodecPlugin("heavy", lambda info, scale: None, requires=("sqlite3",))]
        """,
    "chatty": """
        print("hello")
        @hookimpl
        def precomp_register_codecs():
            return [CodecPlugin("chatty", lambda info, scale: None)]
        """,
    "late": """
        @hookimpl
        def precomp_register_codecs():
            return [CodecPlugin("late", lambda *_: None, install_hint="pip", requires=("sqlite3",))]
        """,
    "silent": """
        def build(level=None):
            import sqlite3
        @hookimpl
        def precomp_register_compressors():
            return [CompressorPlugin("silent", (".x",), build, requires=("sqlite3",))]
        """,
    "empty": """
        @hookimpl
        def precomp_register_codecs():
            return []
        """,
    "misspelt": """
        @hookimpl
        def precomp_register_codec():
            return []
        """,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """For each class, without `Test`, its failed tests with their messages."""
    folder = tmp_path_factory.mktemp("kit")
    for name, code in MODULES.items():
        (folder / f"{name}_plugin.py").write_text(_HEAD + textwrap.dedent(code))
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTHONPATH": f"{folder}{os.pathsep}{HERE.parent}", "HYPOTHESIS_PROFILE": "ci"}
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={folder / 'report.xml'}"]
    wanted = [*RIGHT, *(f"{name}::{test}" for name, (test, _) in WRONG.items())]
    nodes = [f"{HERE / 'kit_wrong.py'}::Test{name}" for name in wanted]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *nodes],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    failed: dict[str, dict[str, str]] = {}
    for case in ET.parse(folder / "report.xml").getroot().iter("testcase"):
        name = case.attrib["classname"].rpartition("Test")[2]
        failures = failed.setdefault(name, {})
        for problem in [*case.iter("failure"), *case.iter("error")]:
            test = case.attrib["name"].partition("[")[0]
            failures[test] = failures.get(test, "") + problem.attrib["message"] + "\n"
    return failed


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_one_passes(report: Mapping[str, Mapping[str, str]], name: str) -> None:
    assert report[name] == {}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_one_is_found(report: Mapping[str, Mapping[str, str]], name: str) -> None:
    test, message = WRONG[name]
    assert test in report[name], "it passed"
    assert re.search(message, report[name][test], re.DOTALL), report[name][test]


def test_every_wrong_one_is_listed() -> None:
    text = (HERE / "kit_wrong.py").read_text(encoding="utf-8")
    groups = re.findall(r"^WRONG_\w+: [^\n]* = \((.*?)^\)", text, re.MULTILINE | re.DOTALL)
    made = {name for group in groups for name in re.findall(r"\w+", group)}
    written = set(re.findall(r"^class Test(\w+)", text, re.MULTILINE))
    assert made | written == {*RIGHT, *WRONG}
