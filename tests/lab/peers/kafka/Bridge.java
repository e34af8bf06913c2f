import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The least MQTT bridge in front of Kafka that keeps its promise: MQTT 3.1.1 at QoS 1 in, a record under the client id out,
 * acks=all, and PUBACK once Kafka has acknowledged the record. No sessions, no rules, no subscribers.
 *
 * <p>PUBACKs come in the order of the publishes, as MQTT has it. What one client has unanswered is bounded; its socket waits
 * when that is full. A record that Kafka refuses closes its connection without a PUBACK.
 *
 * <p>Usage: java -cp 'lib/*' Bridge.java PORT BOOTSTRAP TOPIC
 */
public final class Bridge {
    /** Publishes of one client that Kafka has not acknowledged yet. */
    private static final int WINDOW = 1000;
    private static final int CONNECT = 1;
    private static final int PUBLISH = 3;
    private static final byte[] CONNACK = {0x20, 2, 0, 0};
    private static final int PUBACK = 0x40;
    private static final int BUFFER = 256 * 1024;
    private static final int LONGEST = 2 << 20;

    private final Producer<String, byte[]> producer;
    private final String topic;

    private Bridge(Producer<String, byte[]> producer, String topic) {
        this.producer = producer;
        this.topic = topic;
    }

    public static void main(String[] arguments) throws IOException {
        // As the client comes; acks=all is its default too, and said because everything depends on it.
        Map<String, Object> settings = Map.of("bootstrap.servers", arguments[1], "acks", "all");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            // It knows its partitions before it listens.
            producer.partitionsFor(arguments[2]);
            Bridge bridge = new Bridge(producer, arguments[2]);
            int port = Integer.parseInt(arguments[0]);
            try (ServerSocket listener = new ServerSocket(port, 1024, InetAddress.getLoopbackAddress())) {
                while (true) {
                    Socket socket = listener.accept();
                    start(() -> bridge.serve(socket));
                }
            }
        }
    }

    /** A publish, and the record that it became. */
    private record Waiting(int id, Future<?> stored) {}

    /** One client, until it hangs up. */
    private void serve(Socket socket) throws IOException {
        BlockingQueue<Waiting> waiting = new ArrayBlockingQueue<>(WINDOW);
        try (socket) {
            socket.setTcpNoDelay(true);
            DataInputStream in = new DataInputStream(new BufferedInputStream(socket.getInputStream(), BUFFER));
            OutputStream out = new BufferedOutputStream(socket.getOutputStream(), BUFFER);
            if (in.readUnsignedByte() >> 4 != CONNECT) {
                return;
            }
            String client = clientOf(in.readNBytes(length(in)));
            out.write(CONNACK);
            out.flush();
            Thread answering = start(() -> {
                try (socket) {
                    answer(waiting, out);
                }
            });
            try {
                while (true) {
                    int head = in.readUnsignedByte();
                    byte[] body = in.readNBytes(length(in));
                    if (head >> 4 == PUBLISH) {
                        waiting.put(publish(client, body));
                    }
                }
            } catch (InterruptedException interrupted) {
                return;
            } finally {
                answering.interrupt();
            }
        }
    }

    /** Hands a publish at QoS 1 to Kafka. */
    private Waiting publish(String client, byte[] body) {
        int id = 2 + short16(body, 0);
        byte[] payload = java.util.Arrays.copyOfRange(body, id + 2, body.length);
        return new Waiting(short16(body, id), producer.send(new ProducerRecord<>(topic, client, payload)));
    }

    /** Answers publishes in their order, as soon as Kafka has acknowledged each. */
    private static void answer(BlockingQueue<Waiting> waiting, OutputStream out) throws IOException {
        try {
            while (true) {
                Waiting next = waiting.peek();
                // Nothing is held back while nothing can be added to it.
                if (next == null || !next.stored().isDone()) {
                    out.flush();
                }
                next = waiting.take();
                next.stored().get();
                out.write(new byte[] {(byte) PUBACK, 2, (byte) (next.id() >> 8), (byte) next.id()});
            }
        } catch (InterruptedException | ExecutionException end) {
            throw new IOException("closed: " + end.getMessage(), end);
        }
    }

    /** The client id of a CONNECT: behind the name of the protocol, its level, the flags and the keep alive. */
    private static String clientOf(byte[] body) {
        int at = 2 + short16(body, 0) + 4;
        return new String(body, at + 2, short16(body, at), StandardCharsets.UTF_8);
    }

    private static int short16(byte[] bytes, int at) {
        return (bytes[at] & 0xff) << 8 | bytes[at + 1] & 0xff;
    }

    /** The remaining length of a packet (MQTT 3.1.1, section 2.2.3). */
    private static int length(DataInputStream in) throws IOException {
        int length = 0;
        for (int shift = 0; shift < 28; shift += 7) {
            int digit = in.readUnsignedByte();
            length |= (digit & 0x7f) << shift;
            if (digit < 0x80 && length <= LONGEST) {
                return length;
            }
        }
        throw new IOException("a packet of " + length + " bytes or more, expected at most " + LONGEST);
    }

    private interface Work {
        void run() throws IOException;
    }

    private static Thread start(Work work) {
        Thread thread = new Thread(() -> {
            try {
                work.run();
            } catch (IOException end) {
                // The client hung up, or is to find that out: it was not answered.
            }
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }
}
