//! Time as it is passed around: nanoseconds since the Unix epoch, from a clock that tests can steer.

/// Nanoseconds since 1970-01-01T00:00:00Z, or a length of time in nanoseconds.
pub type Nanos = i64;

/// Where the time comes from. The binary passes the system's clock, tests one that they set.
pub trait Clock: Send + Sync {
    /// The current time in nanoseconds since the Unix epoch.
    fn now(&self) -> Nanos;
}
