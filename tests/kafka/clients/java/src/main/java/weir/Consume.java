package weir;

import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** The Java client; command line and output are described in tests/kafka/README.md. */
public final class Consume {
  private static final Duration WAIT = Duration.ofMillis(200);
  private static final PrintStream OUT = new PrintStream(new BufferedOutputStream(System.out, 1 << 16));

  private final Map<String, String> order;
  private final String topic;
  private final Map<TopicPartition, OffsetAndMetadata> positions = new HashMap<>();
  private long count;

  private Consume(Map<String, String> order) {
    this.order = order;
    this.topic = order.get("topic");
  }

  public static void main(String[] arguments) throws InterruptedException {
    Map<String, String> order = new HashMap<>();
    for (int at = 0; at < arguments.length; at += 2) {
      order.put(arguments[at].substring(2), arguments[at + 1]);
    }
    try {
      new Consume(order).run();
    } catch (KafkaException error) {
      String message = error.getClass().getSimpleName() + ": " + error.getMessage();
      say("error " + message.replaceAll("\\s+", " "));
      System.exit(1);
    }
  }

  private long number(String name) {
    return Long.parseLong(order.getOrDefault(name, Long.toString(Long.MAX_VALUE)));
  }

  private String at() {
    return order.getOrDefault("at", "earliest");
  }

  /** Only what the order says; everything else stays as the client has it. */
  private Properties settings() {
    Properties chosen = new Properties();
    long session = Long.parseLong(order.getOrDefault("session-timeout", "6000"));
    chosen.put("bootstrap.servers", order.get("bootstrap"));
    chosen.put("enable.auto.commit", "false");
    chosen.put("auto.offset.reset", at().contains(":") ? "none" : at());
    chosen.put("session.timeout.ms", Long.toString(session));
    chosen.put("heartbeat.interval.ms", Long.toString(session / 6));
    if (order.containsKey("group")) {
      chosen.put("group.id", order.get("group"));
    }
    if (order.containsKey("member")) {
      chosen.put("group.instance.id", order.get("member"));
    }
    String mechanism = order.get("mechanism");
    if (mechanism != null) {
      String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
      chosen.put("sasl.mechanism", mechanism);
      chosen.put(
          "sasl.jaas.config",
          String.format(
              "org.apache.kafka.common.security.%s required username=\"%s\" password=\"%s\";",
              module, order.get("user"), order.get("password")));
    }
    String ca = order.get("ca");
    if (ca != null) {
      chosen.put("ssl.truststore.type", "PEM");
      chosen.put("ssl.truststore.location", ca);
    }
    if (mechanism != null || ca != null) {
      chosen.put("security.protocol", (mechanism != null ? "SASL_" : "") + (ca != null ? "SSL" : "PLAINTEXT"));
    }
    return chosen;
  }

  private void run() throws InterruptedException {
    try (var consumer = new KafkaConsumer<>(settings(), new StringDeserializer(), new ByteArrayDeserializer())) {
      if (order.containsKey("group")) {
        consumer.subscribe(List.of(topic), new Listener());
      } else {
        assign(consumer);
      }
      while (count < number("records")) {
        for (ConsumerRecord<String, byte[]> record : consumer.poll(WAIT)) {
          if (take(record)) {
            consumer.commitSync(positions);
            committed();
          }
          if (count >= number("records") || count >= number("hold-at")) {
            break;
          }
        }
        OUT.flush();
        if (count >= number("hold-at")) {
          say("holding");
          Thread.sleep(Duration.ofHours(1).toMillis());
        }
      }
      say("done");
    }
  }

  /** Every partition, from where the order says. */
  private void assign(KafkaConsumer<String, byte[]> consumer) {
    List<TopicPartition> partitions =
        consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(topic, p.partition())).toList();
    consumer.assign(partitions);
    String[] place = at().split(":");
    switch (place[0]) {
      case "time" -> {
        var times = partitions.stream().collect(Collectors.toMap(p -> p, p -> Long.parseLong(place[1])));
        consumer.offsetsForTimes(times).forEach((partition, found) -> {
          if (found != null) {
            consumer.seek(partition, found.offset());
          } else {
            consumer.seekToEnd(List.of(partition));
          }
        });
      }
      case "offset" -> partitions.forEach(partition -> consumer.seek(partition, Long.parseLong(place[1])));
      case "latest" -> consumer.seekToEnd(partitions);
      default -> consumer.seekToBeginning(partitions);
    }
  }

  /** Writes a record; returns whether the positions are to be committed now. */
  private boolean take(ConsumerRecord<String, byte[]> record) {
    count++;
    positions.put(new TopicPartition(topic, record.partition()), new OffsetAndMetadata(record.offset() + 1));
    String value = HexFormat.of().formatHex(record.value());
    OUT.println("record " + record.partition() + " " + record.offset() + " " + record.key() + " " + value);
    return count % number("commit-every") == 0;
  }

  private void committed() {
    Map<Integer, Long> sorted = new TreeMap<>();
    positions.forEach((partition, position) -> sorted.put(partition.partition(), position.offset()));
    String places =
        sorted.entrySet().stream().map(e -> e.getKey() + ":" + e.getValue()).collect(Collectors.joining(","));
    say("committed " + places);
  }

  /** Writes one line of output that the test may wait for. */
  private static void say(String line) {
    OUT.println(line);
    OUT.flush();
  }

  private static String numbers(Collection<TopicPartition> partitions) {
    return partitions.stream()
        .map(TopicPartition::partition)
        .sorted()
        .map(String::valueOf)
        .collect(Collectors.joining(","));
  }

  /** Says what the group decides. */
  private final class Listener implements ConsumerRebalanceListener {
    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
      say("assigned " + numbers(assigned));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
      positions.keySet().removeAll(revoked);
      say("revoked " + numbers(revoked));
    }
  }
}
