"""confluent-kafka, librdkafka's Python client."""

import json
import time

import contract
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

# Records taken from the client at once, and how long it waits for the first of them, in seconds.
BATCH = 500
WAIT = 0.2
# How long the gateway may take to answer a question of its own, in seconds.
PATIENCE = 20


def settings(order):
    """Only what the order says; everything else stays as the client has it."""
    chosen = {
        "bootstrap.servers": order.bootstrap,
        "group.id": order.group or "none",
        "enable.auto.commit": False,
        "auto.offset.reset": order.at if order.at in ("earliest", "latest") else "error",
        "session.timeout.ms": order.session_timeout,
        "heartbeat.interval.ms": order.session_timeout // 6,
        "error_cb": broken,
    }
    if order.member:
        chosen["group.instance.id"] = order.member
    if order.mechanism:
        chosen |= {"sasl.mechanism": order.mechanism, "sasl.username": order.user, "sasl.password": order.password}
    if order.ca:
        chosen["ssl.ca.location"] = order.ca
    if order.mechanism or order.ca:
        chosen["security.protocol"] = ("SASL_" if order.mechanism else "") + ("SSL" if order.ca else "PLAINTEXT")
    return chosen


def broken(error):
    """Errors of the connection; those that pass by themselves are the client's business."""
    if error.fatal() or error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
        contract.fail(error.str())


def assign(consumer, order):
    """Every partition, from where the order says."""
    topic = consumer.list_topics(order.topic, timeout=PATIENCE).topics[order.topic]
    if topic.error is not None:
        contract.fail(topic.error.str())
    kind, _, number = order.at.partition(":")
    start = int(number) if number else {"earliest": -2, "latest": -1}[kind]
    partitions = [TopicPartition(order.topic, partition, start) for partition in topic.partitions]
    if kind == "time":
        partitions = consumer.offsets_for_times(partitions, timeout=PATIENCE)
    consumer.assign(partitions)


def decoder(order):
    """Values as JSON by the registry's own client, or as they are."""
    if not order.registry:
        return lambda message: message.value()
    decode = AvroDeserializer(SchemaRegistryClient({"url": order.registry}))

    def decoded(message):
        value = decode(message.value(), SerializationContext(message.topic(), MessageField.VALUE))
        return json.dumps(value, default=lambda moment: round(moment.timestamp() * 1_000_000))

    return decoded


def main():
    order = contract.order()
    taken = contract.Taken(order)
    consumer = Consumer(settings(order))
    value = decoder(order)

    def assigned(_, partitions):
        contract.say("assigned", contract.numbers(p.partition for p in partitions))

    def revoked(_, partitions):
        taken.revoke(p.partition for p in partitions)
        contract.say("revoked", contract.numbers(p.partition for p in partitions))

    if order.group:
        consumer.subscribe([order.topic], on_assign=assigned, on_revoke=revoked)
    else:
        assign(consumer, order)
    while not taken.is_done():
        for message in consumer.consume(BATCH, WAIT):
            if message.error():
                contract.fail(message.error().str())
            if taken.take(message.partition(), message.offset(), message.key(), value(message)):
                offsets = [TopicPartition(order.topic, p, o) for p, o in taken.positions.items()]
                consumer.commit(offsets=offsets, asynchronous=False)
                taken.committed()
            if taken.is_done() or taken.is_held():
                break
        taken.flush()
        if taken.is_held():
            contract.say("holding")
            time.sleep(3600)
    contract.say("done")
    consumer.close()


try:
    main()
except KafkaException as error:
    contract.fail(error.args[0].str())
