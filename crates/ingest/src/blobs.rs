//! Uploads that are no profiles and are kept elsewhere: execution traces.

use crate::error::{Error, ErrorKind};
use crate::ingest::{Ingest, Inner};
use crate::labels;
use crate::rates::Cost;
use everflame_profile::{Labels, SERVICE_NAME};

impl Ingest {
    /// Checks an upload of `bytes` bytes that is no profile: its labels, its size and the rates, like those of a
    /// profile. Its labels come back, `service_name` among them.
    pub fn admit_blob(
        &self,
        service: &str,
        labels: Vec<(String, String)>,
        bytes: usize,
    ) -> Result<Labels, Error> {
        self.0.counters.receive(bytes);
        let admitted = self.0.admit_blob(service, labels, bytes);
        self.0.counters.settle(admitted.as_ref().map(|_| false));
        admitted.map_err(|error| self.0.note_refusal(error, service, 1, bytes as u64))
    }
}

impl Inner {
    fn admit_blob(
        &self,
        service: &str,
        labels: Vec<(String, String)>,
        bytes: usize,
    ) -> Result<Labels, Error> {
        self.is_exhausted()?;
        let labels = labels::of_service(service, labels, &self.limits.general)?;
        let most = self.limits.decode(&labels).inflated_bytes;
        if bytes > most {
            let message = format!("it has {bytes} bytes, at most {most} are taken; send a shorter one");
            return Err(Error::new(ErrorKind::TooLarge, message).of(&labels));
        }
        let cost = Cost { profiles: 1, bytes: bytes as u64 };
        self.take_from(&[(labels.get(SERVICE_NAME), &labels, cost)], cost)
            .map_err(|error| error.of(&labels))?;
        Ok(labels)
    }
}
