package example;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.DecoderFactory;

/**
 * Avro in Confluent wire format: a zero byte, the schema's id in four, the value. Confluent's own KafkaAvroDeserializer
 * does the same; its packages are not in Maven Central.
 */
final class Values {
  private static final int HEADER = 5;
  private final HttpClient http = HttpClient.newHttpClient();
  private final String registry;
  private final Map<Integer, GenericDatumReader<GenericRecord>> readers = new HashMap<>();

  Values(String registry) {
    this.registry = registry;
  }

  GenericRecord decode(byte[] value) throws IOException, InterruptedException {
    ByteBuffer header = ByteBuffer.wrap(value);
    if (value.length < HEADER || header.get() != 0) {
      throw new IOException("not in Confluent wire format: expected a zero byte and the id of a schema");
    }
    int id = header.getInt();
    GenericDatumReader<GenericRecord> reader = readers.get(id);
    if (reader == null) {
      reader = new GenericDatumReader<>(schema(id));
      readers.put(id, reader);
    }
    return reader.read(null, DecoderFactory.get().binaryDecoder(value, HEADER, value.length - HEADER, null));
  }

  private Schema schema(int id) throws IOException, InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
    HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new IOException(request.uri() + " answered " + answer.statusCode() + ": " + answer.body());
    }
    return new Schema.Parser().parse(new ObjectMapper().readTree(answer.body()).get("schema").asText());
  }
}
