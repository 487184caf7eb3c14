import io.pyroscope.http.Format;
import io.pyroscope.javaagent.EventType;
import io.pyroscope.javaagent.PyroscopeAgent;
import io.pyroscope.javaagent.config.Config;
import io.pyroscope.labels.v2.LabelsSet;
import io.pyroscope.labels.v2.Pyroscope;
import java.time.Duration;
import java.util.Map;

/**
 * Profiles itself with the unmodified Java agent: CPU, allocations, live objects and locks, with a label that
 * is set while it runs.
 *
 * <p>usage: java Client SERVER_URL SECONDS
 */
final class Client {
  private Client() {}

  public static void main(String[] args) throws Exception {
    if (args.length != 2) {
      System.err.println("usage: java Client SERVER_URL SECONDS");
      System.exit(2);
    }
    PyroscopeAgent.start(
        new Config.Builder()
            .setApplicationName("client-java")
            .setServerAddress(args[0])
            .setFormat(Format.JFR)
            .setProfilingEvent(EventType.ITIMER)
            .setProfilingAlloc("64k")
            .setProfilingLock("1ms")
            .setAllocLive(true)
            // Its default is 10 s.
            .setUploadInterval(Duration.ofSeconds(1))
            .setLabels(Map.of("region", "test"))
            .build());
    LabelsSet labels = new LabelsSet("endpoint", "cart");
    Runnable hot = () -> Work.sink += Work.everflameHotJava(40_000_000);
    Work.run(Double.parseDouble(args[1]), () -> Pyroscope.LabelsWrapper.run(labels, hot));
    PyroscopeAgent.stop();
    // Its threads stay.
    System.exit(0);
  }
}
