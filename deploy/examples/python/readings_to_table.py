"""Readings into a table, each once: a consumer to copy.

The log may hand a record out again (a consumer that was killed goes on at its last commit; somebody resets the
group). It does no harm here: the identity of a reading is the table's primary key, and the offsets are committed
after the table. Swap SQLite for the database that you have.
"""

import argparse
import signal
import sqlite3

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TABLE = """
CREATE TABLE IF NOT EXISTS readings (
    tenant TEXT, device TEXT, restart TEXT, sequence INTEGER,
    channel TEXT NOT NULL, unit TEXT NOT NULL, time INTEGER NOT NULL, clock TEXT NOT NULL, value NOT NULL,
    PRIMARY KEY (tenant, device, restart, sequence)
) WITHOUT ROWID
"""
UPSERT = """
INSERT INTO readings VALUES (:tenant, :device, :restart, :sequence, :channel, :unit, :time, :clock, :value)
ON CONFLICT DO UPDATE SET channel = excluded.channel, unit = excluded.unit, time = excluded.time,
    clock = excluded.clock, value = excluded.value
"""
# Records of one transaction, at most, and how long to wait for the first of them, in seconds.
BATCH, WAIT = 1000, 1.0


def options():
    parser = argparse.ArgumentParser(description="Readings into a table, each once.")
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--registry", default="http://127.0.0.1:8080")
    parser.add_argument("--topic", default="readings")
    parser.add_argument("--group", default="table")
    parser.add_argument("--table", default="readings.db", help="an SQLite file")
    parser.add_argument("--until", type=int, help="end once so many rows are in the table and nothing more comes")
    return parser.parse_args()


def main():
    chosen = options()
    table = sqlite3.connect(chosen.table)
    table.execute(TABLE)
    decode = AvroDeserializer(SchemaRegistryClient({"url": chosen.registry}))
    consumer = Consumer(
        {
            "bootstrap.servers": chosen.bootstrap,
            "group.id": chosen.group,
            "auto.offset.reset": "earliest",
            # Only what is in the table may be committed.
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([chosen.topic])
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))

    while not stopped:
        messages = consumer.consume(BATCH, WAIT)
        rows = []
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            row = decode(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
            row["time"] = round(row["time"].timestamp() * 1_000_000)
            rows.append(row)
        if rows:
            with table:
                table.executemany(UPSERT, rows)
            consumer.commit(asynchronous=False)
        elif chosen.until and consumer.assignment():
            if table.execute("SELECT count(*) FROM readings").fetchone()[0] >= chosen.until:
                break
    consumer.close()


if __name__ == "__main__":
    main()
