"""paho-mqtt, MQTT 3.1.1 and 5: does what it is told on stdin and says what happens; see tests/mqtt/README.md."""

import argparse
import os
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# How long a durable session of MQTT 5 outlives its connection, in seconds.
EXPIRY = 3600

speaking = threading.Lock()


def say(*words):
    with speaking:
        print(*words, flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--transport", choices=["tcp", "tls"], default="tcp")
    parser.add_argument("--version", choices=["3.1.1", "5"], required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--durable", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--ca")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--will", help="QOS RETAIN TOPIC TEXT")
    parser.add_argument("--will-delay", type=int, default=0)
    return parser.parse_args()


class Program:
    def __init__(self, order):
        self.order = order
        self.is_5 = order.version == "5"
        self.waiting = {}
        self.lock = threading.Lock()
        chosen = {"client_id": order.id, "protocol": mqtt.MQTTv5 if self.is_5 else mqtt.MQTTv311}
        if not self.is_5:
            chosen["clean_session"] = not order.durable
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **chosen)
        # Tests kill the gateway often, and nobody wants to wait for minutes.
        self.client.reconnect_delay_set(min_delay=1, max_delay=1)
        self.client.on_connect = self.connected
        self.client.on_disconnect = self.disconnected
        self.client.on_message = self.message
        self.client.on_publish = self.acknowledged
        self.client.on_subscribe = self.subscribed
        self.client.on_unsubscribe = self.unsubscribed
        if order.user:
            self.client.username_pw_set(order.user, order.password)
        if order.transport == "tls":
            self.client.tls_set(ca_certs=order.ca, certfile=order.certificate, keyfile=order.key)
        if order.will:
            qos, retain, topic, text = order.will.split(" ", 3)
            properties = None
            if self.is_5:
                properties = Properties(PacketTypes.WILLMESSAGE)
                properties.WillDelayInterval = order.will_delay
            self.client.will_set(topic, text, int(qos), retain == "1", properties=properties)

    def connect(self):
        chosen = {}
        if self.is_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = EXPIRY if self.order.durable else 0
            chosen = {"clean_start": not self.order.durable, "properties": properties}
        self.client.connect(self.order.host, self.order.port, **chosen)
        self.client.loop_start()

    def connected(self, client, userdata, flags, reason, properties):
        if reason.is_failure:
            say("refused", reason)
        else:
            say("connected", int(flags.session_present))

    def disconnected(self, client, userdata, flags, reason, properties):
        say("disconnected", reason)

    def message(self, client, userdata, message):
        say("message", message.qos, int(message.retain), message.topic, message.payload.hex())

    def acknowledged(self, client, userdata, number, reason, properties):
        with self.lock:
            name = self.waiting.pop(number, None)
        if name is None:
            # The answer overtook publish(), which has yet to say which message it is.
            with self.lock:
                self.waiting[number] = reason
        else:
            self.tell(name, reason)

    @staticmethod
    def tell(name, reason):
        say("failed" if reason.is_failure else "published", name, *([reason] if reason.is_failure else []))

    def subscribed(self, client, userdata, number, reasons, properties):
        say("subscribed", ",".join(str(reason.value) for reason in reasons))

    def unsubscribed(self, client, userdata, number, reasons, properties):
        say("unsubscribed")

    def publish(self, name, qos, retain, topic, text):
        number = self.client.publish(topic, text, qos, retain).mid
        with self.lock:
            reason = self.waiting.pop(number, None)
            if reason is None:
                self.waiting[number] = name
        if reason is not None:
            self.tell(name, reason)

    def obey(self, line):
        word, *rest = line.split(" ")
        if word == "publish":
            name, qos, retain, topic, text = rest[0], int(rest[1]), rest[2] == "1", rest[3], " ".join(rest[4:])
            self.publish(name, qos, retain, topic, text)
        elif word == "flood":
            qos, topic, first, count = int(rest[0]), rest[1], int(rest[2]), int(rest[3])
            for number in range(first, first + count):
                self.publish(str(number), qos, False, topic, str(number))
        elif word == "subscribe":
            self.client.subscribe(rest[1], int(rest[0]))
        elif word == "unsubscribe":
            self.client.unsubscribe(rest[0])
        elif word == "disconnect":
            self.client.disconnect()
            self.client.loop_stop()
            say("bye")
            os._exit(0)
        elif word == "vanish":
            os._exit(0)


def main():
    program = Program(arguments())
    try:
        program.connect()
    except OSError as error:
        say("refused", error)
        sys.exit(1)
    for line in sys.stdin:
        program.obey(line.rstrip("\n"))


main()
