"""Objects as rows of a SQLite table, which many processes may share."""

import contextlib
import sqlite3
import threading

from precomp.errors import ConditionFailedError, StoreError
from precomp.interfaces import Blob, Stat
from precomp.memory import check_key

# The version is a row's number, which SQLite never uses again.
_TABLE = """
    CREATE TABLE IF NOT EXISTS objects (
        version INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT UNIQUE, data BLOB, encoding TEXT, type TEXT, cache TEXT
    )
"""

_LONGEST = 2**31 - 2  # bytes of a value; substr() takes larger numbers for negative ones


class SqliteStore:
    """The objects of one folder of a file."""

    def __init__(self, file, folder, timeout, fsync):
        self._folder = f"{folder}/"
        self._lock = threading.Lock()  # of the connection
        self._db = sqlite3.connect(file, timeout, isolation_level=None, check_same_thread=False)
        self._db.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'OFF'}")
        self._db.execute(_TABLE)

    def get(self, key, byte_range=None):
        part, values = "data", ()
        if byte_range is not None:
            start, stop = (min(number, _LONGEST) for number in byte_range)
            part, values = "substr(data, ?, ?)", (start + 1, max(stop - start, 0))
        columns = f"{part}, encoding, type, cache, version, length(data)"
        found = self._row(f"SELECT {columns} FROM objects WHERE key = ?", key, *values)
        if found is None:
            return None
        data, encoding, kind, cache, version, size = found
        # A part of an empty value is NULL.
        return Blob(data or b"", encoding, kind, cache, str(version), None if byte_range is None else size)

    def stat(self, key):
        found = self._row("SELECT length(data), version, encoding FROM objects WHERE key = ?", key)
        return found and Stat(found[0], str(found[1]), found[2])

    def put(self, key, blob, *, condition=None):
        with self._at(key) as (path, db):
            row = db.execute("SELECT version FROM objects WHERE key = ?", [path]).fetchone()
            version = row and str(row[0])
            if condition is not None and condition.version != version:
                raise ConditionFailedError(f"{key}: expected version {condition.version}, found {version}")
            values = [path, bytes(blob.data), blob.content_encoding, blob.content_type, blob.cache_control]
            insert = (
                "INSERT OR REPLACE INTO objects (key, data, encoding, type, cache) VALUES (?, ?, ?, ?, ?)"
            )
            return str(db.execute(insert, values).lastrowid)

    def delete(self, keys):
        for key in list(keys):
            with self._at(key) as (path, db):
                db.execute("DELETE FROM objects WHERE key = ?", [path])

    def list(self, prefix):
        start = self._folder + prefix
        query = "SELECT key FROM objects WHERE substr(key, 1, ?) = ?"
        with self._lock, _telling(prefix):
            rows = self._db.execute(query, [len(start), start]).fetchall()
        return (key.removeprefix(self._folder) for (key,) in rows)

    def _row(self, query, key, *values):
        with self._at(key, write=False) as (path, db):
            return db.execute(query, [*values, path]).fetchone()

    @contextlib.contextmanager
    def _at(self, key, write=True):
        """Check a key and give its full path and the database, for a transaction where `write`."""
        check_key(key)
        with self._lock, _telling(key):
            if not write:
                yield self._folder + key, self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._folder + key, self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


@contextlib.contextmanager
def _telling(key):
    try:
        yield
    except (sqlite3.Error, UnicodeError) as error:
        raise StoreError(f"{key}: {error}; check the file and that no other program locks it") from error
