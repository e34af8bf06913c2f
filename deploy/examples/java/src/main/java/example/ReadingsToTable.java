package example;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.generic.GenericRecord;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Readings into a table, each once: a consumer to copy.
 *
 * <p>The log may hand a record out again (a consumer that was killed goes on at its last commit; somebody resets the
 * group). It does no harm here: the identity of a reading is the table's primary key, and the offsets are committed after
 * the table. Swap SQLite for the database that you have.
 */
public final class ReadingsToTable {
  private static final String TABLE =
      """
      CREATE TABLE IF NOT EXISTS readings (
        tenant TEXT, device TEXT, restart TEXT, sequence INTEGER,
        channel TEXT NOT NULL, unit TEXT NOT NULL, time INTEGER NOT NULL, clock TEXT NOT NULL, value NOT NULL,
        PRIMARY KEY (tenant, device, restart, sequence)
      ) WITHOUT ROWID
      """;
  private static final String UPSERT =
      """
      INSERT INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET channel = excluded.channel, unit = excluded.unit, time = excluded.time,
        clock = excluded.clock, value = excluded.value
      """;
  /** The fields of a reading in the order of the columns. */
  private static final List<String> COLUMNS =
      List.of("tenant", "device", "restart", "sequence", "channel", "unit", "time", "clock", "value");
  private static final Duration WAIT = Duration.ofSeconds(1);

  public static void main(String[] arguments) throws Exception {
    Map<String, String> chosen = new HashMap<>();
    for (int at = 0; at + 1 < arguments.length; at += 2) {
      chosen.put(arguments[at], arguments[at + 1]);
    }
    Properties settings = new Properties();
    settings.put("bootstrap.servers", chosen.getOrDefault("--bootstrap", "127.0.0.1:9092"));
    settings.put("group.id", chosen.getOrDefault("--group", "table"));
    settings.put("auto.offset.reset", "earliest");
    // Only what is in the table may be committed.
    settings.put("enable.auto.commit", "false");
    long until = Long.parseLong(chosen.getOrDefault("--until", "0"));
    Values values = new Values(chosen.getOrDefault("--registry", "http://127.0.0.1:8080"));
    var bytes = new ByteArrayDeserializer();
    try (Connection table = DriverManager.getConnection("jdbc:sqlite:" + chosen.getOrDefault("--table", "readings.db"));
        var consumer = new KafkaConsumer<>(settings, bytes, bytes)) {
      table.createStatement().execute(TABLE);
      table.setAutoCommit(false);
      consumer.subscribe(List.of(chosen.getOrDefault("--topic", "readings")));
      stopOnSignal(consumer);
      while (true) {
        ConsumerRecords<byte[], byte[]> records = consumer.poll(WAIT);
        if (!records.isEmpty()) {
          store(table, records, values);
          consumer.commitSync();
        } else if (until > 0 && !consumer.assignment().isEmpty() && rows(table) >= until) {
          // Enough rows, and nothing more comes.
          return;
        }
      }
    } catch (WakeupException stopped) {
      // SIGTERM or Ctrl-C; the consumer has left its group.
    }
  }

  /** One transaction for all that was polled. */
  private static void store(Connection table, ConsumerRecords<byte[], byte[]> records, Values values) throws Exception {
    try (PreparedStatement upsert = table.prepareStatement(UPSERT)) {
      for (ConsumerRecord<byte[], byte[]> record : records) {
        GenericRecord reading = values.decode(record.value());
        for (int column = 0; column < COLUMNS.size(); column++) {
          Object field = reading.get(COLUMNS.get(column));
          // Avro has its own classes for text and enums; numbers and booleans are Java's.
          boolean isPlain = field instanceof Number || field instanceof Boolean;
          upsert.setObject(column + 1, isPlain ? field : field.toString());
        }
        upsert.addBatch();
      }
      upsert.executeBatch();
      table.commit();
    } catch (Exception failed) {
      table.rollback();
      throw failed;
    }
  }

  private static long rows(Connection table) throws SQLException {
    try (Statement statement = table.createStatement();
        ResultSet count = statement.executeQuery("SELECT count(*) FROM readings")) {
      return count.getLong(1);
    }
  }

  private static void stopOnSignal(KafkaConsumer<?, ?> consumer) {
    Thread main = Thread.currentThread();
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      consumer.wakeup();
      try {
        main.join();
      } catch (InterruptedException ended) {
        Thread.currentThread().interrupt();
      }
    }));
  }
}
