import java.util.ArrayDeque;
import java.util.concurrent.locks.LockSupport;

/** What the programs do while they are profiled: compute, allocate, wait for a lock. */
final class Work {
  private static final Object LOCK = new Object();
  private static final ArrayDeque<byte[]> RETAINED = new ArrayDeque<>();
  static long sink;

  private Work() {}

  static long everflameHotJava(long rounds) {
    long x = 88172645463325252L;
    for (long i = 0; i < rounds; i++) {
      x ^= x << 13;
      x ^= x >>> 7;
      x ^= x << 17;
    }
    return x;
  }

  static void everflameAllocJava() {
    for (int i = 0; i < 64; i++) {
      RETAINED.add(new byte[32 << 10]);
      if (RETAINED.size() > 512) {
        RETAINED.poll();
      }
    }
  }

  /** Holds the lock that the main thread wants, too. */
  private static void everflameContendJava() {
    synchronized (LOCK) {
      LockSupport.parkNanos(5_000_000);
    }
  }

  /** Runs {@code hot} and the rest for so long. */
  static void run(double seconds, Runnable hot) throws InterruptedException {
    long end = System.nanoTime() + (long) (seconds * 1e9);
    Thread other =
        new Thread(
            () -> {
              while (System.nanoTime() < end) {
                everflameContendJava();
                LockSupport.parkNanos(20_000_000);
              }
            });
    other.start();
    while (System.nanoTime() < end) {
      hot.run();
      everflameAllocJava();
      synchronized (LOCK) {
        sink++;
      }
    }
    other.join();
  }
}
