import com.hivemq.embedded.EmbeddedHiveMQ;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;

/** HiveMQ Community Edition on loopback, with its defaults. Says "ready ADDRESS"; ends with its standard input. */
public final class Broker {
    public static void main(String[] arguments) throws Exception {
        PrintStream out = System.out;
        // What it logs is not what we say.
        System.setOut(System.err);
        int port;
        try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = free.getLocalPort();
        }
        Path home = Path.of(System.getenv("WEIR_SCRATCH"));
        Files.writeString(home.resolve("config.xml"), """
            <?xml version="1.0"?>
            <hivemq>
              <listeners><tcp-listener><port>%d</port><bind-address>127.0.0.1</bind-address></tcp-listener></listeners>
              <anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>
            </hivemq>
            """.formatted(port));
        try (EmbeddedHiveMQ broker = EmbeddedHiveMQ.builder()
                .withConfigurationFolder(home).withDataFolder(Files.createDirectory(home.resolve("data")))
                .withExtensionsFolder(Files.createDirectory(home.resolve("extensions"))).build()) {
            broker.start().join();
            out.println("ready 127.0.0.1:" + port);
            while (System.in.read() >= 0) {
                // Nobody says anything here.
            }
            broker.stop().join();
        }
        System.exit(0);
    }
}
