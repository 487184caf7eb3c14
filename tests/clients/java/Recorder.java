import one.profiler.AsyncProfiler;

/**
 * Works for some seconds under async-profiler, which writes a file; without a command it only works, for what
 * the JVM records by itself.
 *
 * <p>usage: java Recorder SECONDS [COMMAND FILE]
 */
final class Recorder {
  private Recorder() {}

  public static void main(String[] args) throws Exception {
    double seconds = Double.parseDouble(args[0]);
    Runnable hot = () -> Work.sink += Work.everflameHotJava(40_000_000);
    if (args.length == 1) {
      Work.run(seconds, hot);
      return;
    }
    String command = args[1];
    String file = ",file=" + args[2];
    AsyncProfiler profiler = AsyncProfiler.getInstance();
    // Recordings are written while they are made, the other formats at the end.
    profiler.execute("start," + command + (command.startsWith("jfr") ? file : ""));
    Work.run(seconds, hot);
    profiler.execute("stop," + command + file);
  }
}
