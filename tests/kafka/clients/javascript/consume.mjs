// kafkajs, with the schema registry client that belongs to it.

import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import registry from '@kafkajs/confluent-schema-registry';
import kafkajs from 'kafkajs';

import { Taken, fail, order as ordered, say } from './contract.mjs';

const { SchemaRegistry } = registry;
const order = ordered();
const taken = new Taken(order);
const timeouts = { sessionTimeout: order.sessionTimeout, heartbeatInterval: order.sessionTimeout / 6 };

const sasl = order.mechanism && {
  mechanism: order.mechanism.toLowerCase(),
  username: order.user,
  password: order.password,
};
const kafka = new kafkajs.Kafka({
  brokers: [order.bootstrap],
  logLevel: kafkajs.logLevel.NOTHING,
  ...(sasl && { sasl }),
  ...(order.ca && { ssl: { ca: [readFileSync(order.ca)] } }),
});
const consumer = kafka.consumer({ groupId: order.group ?? 'none', ...timeouts });
const schemas = order.registry && new SchemaRegistry({ host: order.registry });

/** The value as JSON by the registry's own client, or as it is. */
async function valueOf(message) {
  if (!schemas) return message.value.toString('hex');
  return JSON.stringify(await schemas.decode(message.value));
}

async function commit() {
  const topic = order.topic;
  await consumer.commitOffsets([...taken.positions].map(([partition, o]) => ({ topic, partition, offset: `${o}` })));
  taken.committed();
}

async function eachBatch({ batch, heartbeat, isRunning, isStale }) {
  for (const message of batch.messages) {
    if (!isRunning() || isStale() || taken.isDone) return;
    const { offset, key } = message;
    if (taken.take(batch.partition, offset, key, await valueOf(message))) await commit();
    if (taken.isDone || taken.isHeld) break;
    // The client leaves its heartbeats to whoever works on a batch; this one is sent only when it is due.
    await heartbeat();
  }
  taken.flush();
  if (taken.isDone) {
    say('done');
    // Leaving the group waits for this very function, so it happens behind it.
    setImmediate(() => consumer.disconnect().then(() => process.exit(0), fail));
    return;
  }
  if (taken.isHeld) {
    say('holding');
    for (;;) {
      await heartbeat();
      await sleep(timeouts.heartbeatInterval);
    }
  }
  await heartbeat();
}

/** Where the order says to begin, if it names a moment or an offset. */
async function places() {
  const [kind, number] = order.at.split(':');
  if (number === undefined) return [];
  const admin = kafka.admin();
  await admin.connect();
  const found =
    kind === 'time'
      ? await admin.fetchTopicOffsetsByTimestamp(order.topic, Number(number))
      : (await admin.fetchTopicOffsets(order.topic)).map(({ partition }) => ({ partition, offset: number }));
  await admin.disconnect();
  return found;
}

let held = [];
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  taken.flush();
  if (held.length > 0) say('revoked', held.join(','));
  held = [...(payload.memberAssignment[order.topic] ?? [])].sort((a, b) => a - b);
  for (const partition of [...taken.positions.keys()]) if (!held.includes(partition)) taken.positions.delete(partition);
  say('assigned', held.join(','));
});
consumer.on(consumer.events.CRASH, ({ payload }) => payload.restart || fail(payload.error));

try {
  await consumer.connect();
  await consumer.subscribe({ topic: order.topic, fromBeginning: order.at !== 'latest' });
  const begin = await places();
  const running = consumer.run({ autoCommit: false, eachBatch });
  for (const { partition, offset } of begin) consumer.seek({ topic: order.topic, partition, offset });
  await running;
} catch (error) {
  fail(error);
}
