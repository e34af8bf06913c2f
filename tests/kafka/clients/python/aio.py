"""aiokafka, the asyncio client in plain Python."""

import asyncio
import ssl

import contract
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

# How long the client waits for records, in milliseconds.
WAIT = 200
# Records after which the client's own tasks get a turn, so that its heartbeats are not late.
BREATH = 1000


def connection(order):
    """How to reach the gateway."""
    chosen = {"bootstrap_servers": order.bootstrap}
    if order.mechanism:
        chosen["sasl_mechanism"] = order.mechanism
        chosen |= {"sasl_plain_username": order.user, "sasl_plain_password": order.password}
    if order.ca:
        chosen["ssl_context"] = ssl.create_default_context(cafile=order.ca)
    if order.mechanism or order.ca:
        chosen["security_protocol"] = ("SASL_" if order.mechanism else "") + ("SSL" if order.ca else "PLAINTEXT")
    return chosen


def settings(order):
    """Only what the order says; everything else stays as the client has it."""
    return connection(order) | {
        "group_id": order.group,
        "enable_auto_commit": False,
        "auto_offset_reset": order.at if order.at in ("earliest", "latest") else "none",
        "session_timeout_ms": order.session_timeout,
        "heartbeat_interval_ms": order.session_timeout // 6,
        "group_instance_id": order.member,
    }


class Listener(ConsumerRebalanceListener):
    """Says what the group decides."""

    def __init__(self, taken):
        self.taken = taken

    async def on_partitions_assigned(self, assigned):
        contract.say("assigned", contract.numbers(p.partition for p in assigned))

    async def on_partitions_revoked(self, revoked):
        self.taken.revoke(p.partition for p in revoked)
        contract.say("revoked", contract.numbers(p.partition for p in revoked))


async def assign(consumer, order):
    """Every partition, from where the order says."""
    admin = AIOKafkaAdminClient(**connection(order))
    await admin.start()
    described = await admin.describe_topics([order.topic])
    await admin.close()
    partitions = [TopicPartition(order.topic, each["partition"]) for each in described[0]["partitions"]]
    consumer.assign(partitions)
    kind, _, number = order.at.partition(":")
    if kind == "time":
        found = await consumer.offsets_for_times({p: int(number) for p in partitions})
        for partition, place in found.items():
            if place:
                consumer.seek(partition, place.offset)
            else:
                await consumer.seek_to_end(partition)
    elif kind == "offset":
        for partition in partitions:
            consumer.seek(partition, int(number))


async def consume(consumer, order):
    taken = contract.Taken(order)
    if order.group:
        consumer.subscribe([order.topic], listener=Listener(taken))
    await consumer.start()
    if not order.group:
        await assign(consumer, order)
    while not taken.is_done():
        found = await consumer.getmany(timeout_ms=WAIT)
        for message in (message for messages in found.values() for message in messages):
            if taken.take(message.partition, message.offset, message.key, message.value):
                offsets = {TopicPartition(order.topic, p): o for p, o in taken.positions.items()}
                await consumer.commit(offsets)
                taken.committed()
            if taken.is_done() or taken.is_held():
                break
            if taken.count % BREATH == 0:
                await asyncio.sleep(0)
        taken.flush()
        if taken.is_held():
            contract.say("holding")
            await asyncio.sleep(3600)
    contract.say("done")


async def main():
    order = contract.order()
    consumer = AIOKafkaConsumer(**settings(order))
    try:
        await consume(consumer, order)
    except KafkaError as error:
        contract.fail(error)
    finally:
        await consumer.stop()


asyncio.run(main())
