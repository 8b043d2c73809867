"""The database's shape, as numbered steps forward. A step that was released is never changed: write the next one."""

from __future__ import annotations

import sqlite3

from colonnade.wire.errors import SetupError

STEPS: tuple[str, ...] = (
    # 1: what is wanted, who may ask, what happened
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE deployments (name TEXT PRIMARY KEY, generation INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
    CREATE TABLE keys (digest TEXT PRIMARY KEY, name TEXT NOT NULL, tenant TEXT NOT NULL, created INTEGER NOT NULL,
                       revoked REAL) STRICT;
    CREATE UNIQUE INDEX keys_in_use ON keys (name) WHERE revoked IS NULL;
    CREATE TABLE events (id INTEGER PRIMARY KEY, source TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL,
                         kind TEXT NOT NULL, subject TEXT NOT NULL, body BLOB NOT NULL,
                         UNIQUE (source, number)) STRICT;
    """,
    # 2: the last report of each cluster, so that a control plane that starts again can tell gateways at once
    """
    CREATE TABLE clusters (name TEXT PRIMARY KEY, agent TEXT NOT NULL, seen INTEGER NOT NULL,
                           body BLOB NOT NULL) STRICT;
    """,
    # 3: what an event is about, so that it can be asked for; of older ones it is in their subject
    """
    ALTER TABLE events ADD COLUMN deployment TEXT NOT NULL DEFAULT '';
    ALTER TABLE events ADD COLUMN cluster TEXT NOT NULL DEFAULT '';
    UPDATE events SET deployment = subject WHERE kind IN ('deployed', 'scaled', 'removed');
    UPDATE events SET deployment = rtrim(rtrim(subject, '0123456789'), '-')
        WHERE kind IN ('start', 'ready', 'stop', 'ended', 'failed');
    UPDATE events SET cluster = coalesce(json_extract(CAST(body AS TEXT), '$.cluster'), '');
    CREATE INDEX events_of_deployment ON events (deployment, id);
    """,
    # 4: what a key may ask for, as JSON
    """
    ALTER TABLE keys ADD COLUMN allowance TEXT NOT NULL DEFAULT '{}';
    """,
    # 5: what a deployment's replicas have computed with, to go back to; the name is made from the body
    """
    CREATE TABLE versions (id INTEGER PRIMARY KEY, deployment TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,
                           body BLOB NOT NULL, UNIQUE (deployment, name)) STRICT;
    """,
    # 6: what was used, and what it cost
    """
    CREATE TABLE usage (cluster TEXT NOT NULL, replica TEXT NOT NULL, epoch TEXT NOT NULL, deployment TEXT NOT NULL,
                        version TEXT NOT NULL, begun INTEGER NOT NULL, ended INTEGER NOT NULL, resource TEXT NOT NULL,
                        amount REAL NOT NULL, owner TEXT NOT NULL, price TEXT NOT NULL,
                        PRIMARY KEY (cluster, epoch, begun)) STRICT;
    CREATE INDEX usage_by_time ON usage (ended);
    CREATE TABLE tokens (gateway TEXT NOT NULL, hour INTEGER NOT NULL, key TEXT NOT NULL, deployment TEXT NOT NULL,
                         prompt INTEGER NOT NULL, completion INTEGER NOT NULL,
                         PRIMARY KEY (gateway, hour, key, deployment)) STRICT;
    CREATE TABLE prices (cluster TEXT NOT NULL, version TEXT NOT NULL, resource TEXT NOT NULL, price REAL NOT NULL,
                         PRIMARY KEY (cluster, version, resource)) STRICT;
    """,
    # 7: who may do what at the control plane
    """
    CREATE TABLE access (name TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, role TEXT NOT NULL, cluster TEXT NOT NULL,
                         created REAL NOT NULL, used REAL) STRICT;
    """,
    # 8: what is old is found by its time, and forgotten
    """
    CREATE INDEX events_by_time ON events (at);
    """,
)


def migrate(connection: sqlite3.Connection, steps: tuple[str, ...] = STEPS) -> None:
    """Take the steps that are missing, each whole or not at all. Raises SetupError for a later release's database."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(steps):
        raise SetupError(
            f"the database has version {version}, this program knows {len(steps)}",
            hint="it was written by a later release: install that one, or name another folder with --home",
        )
    for number, step in enumerate(steps[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {number}; COMMIT;")
