// MQTT.js, MQTT 3.1.1 and 5, over TCP, TLS and WebSocket: does what it is told on stdin and says what happens; see
// tests/mqtt/README.md.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import mqtt from "mqtt";

// How long a durable session of MQTT 5 outlives its connection, in seconds.
const EXPIRY = 3600;
const SCHEMES = { tcp: "mqtt", tls: "mqtts", ws: "ws", wss: "wss" };

const text = { type: "string" };
const { values: order } = parseArgs({
  options: {
    host: text, port: text, transport: { ...text, default: "tcp" }, version: text, id: text,
    durable: { type: "boolean", default: false }, user: text, password: text, ca: text, certificate: text, key: text,
    will: text, "will-delay": { ...text, default: "0" },
  },
});

const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
const read = (path) => (path ? readFileSync(path) : undefined);
const is5 = order.version === "5";

function settings() {
  const chosen = {
    clientId: order.id, protocolVersion: is5 ? 5 : 4, clean: !order.durable,
    username: order.user, password: order.password,
    ca: read(order.ca), cert: read(order.certificate), key: read(order.key),
  };
  if (is5) chosen.properties = { sessionExpiryInterval: order.durable ? EXPIRY : 0 };
  if (order.will) {
    const [qos, retain, topic, ...payload] = order.will.split(" ");
    chosen.will = { qos: Number(qos), retain: retain === "1", topic, payload: payload.join(" ") };
    if (is5) chosen.will.properties = { willDelayInterval: Number(order["will-delay"]) };
  }
  return chosen;
}

const path = order.transport.startsWith("ws") ? "/mqtt" : "";
const client = mqtt.connect(`${SCHEMES[order.transport]}://${order.host}:${order.port}${path}`, settings());

client.on("connect", (connack) => say("connected", Number(connack.sessionPresent)));
client.on("error", (error) => say("refused", error.message.replaceAll("\n", " ")));
client.on("close", () => say("disconnected"));
client.on("message", (topic, payload, packet) =>
  say("message", packet.qos, Number(packet.retain), topic, payload.toString("hex")));

function publish(name, qos, retain, topic, payload) {
  client.publish(topic, payload, { qos, retain }, (error) => (error ? say("failed", name, error.message) : say("published", name)));
}

const orders = {
  publish: ([name, qos, retain, topic, ...payload]) => publish(name, Number(qos), retain === "1", topic, payload.join(" ")),
  flood: ([qos, topic, first, count]) => {
    for (let number = Number(first); number < Number(first) + Number(count); number += 1) {
      publish(String(number), Number(qos), false, topic, String(number));
    }
  },
  subscribe: ([qos, filter]) =>
    client.subscribe(filter, { qos: Number(qos) }, (error, granted, packet) =>
      say("subscribed", packet?.granted?.join(",") ?? error?.code ?? "128")),
  unsubscribe: ([filter]) => client.unsubscribe(filter, () => say("unsubscribed")),
  disconnect: () => client.end(false, {}, () => { say("bye"); process.exit(0); }),
  vanish: () => process.exit(0),
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, ...rest] = line.split(" ");
  orders[word](rest);
});
