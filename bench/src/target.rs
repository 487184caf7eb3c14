//! The servers that can be loaded, and how each takes a profile.

use crate::bodies::{TIME_MEMBER, push_time};
use crate::http::{Address, Response, post_head};
use crate::plan::Planned;
use crate::wire;
use everflame_profile::Nanos;
use time::OffsetDateTime;
use time::macros::format_description;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// `push.v1.PusherService/Push` over Connect; started here when no URL is given.
    Everflame,
    /// The same wire as Everflame's.
    Pyroscope,
    /// `WriteRaw` over gRPC-Web.
    Parca,
    /// `POST /api/0/profiles`.
    Profefe,
}

impl Target {
    /// Whether it answers `querier.v1.QuerierService`, which the queries are asked through.
    pub(crate) fn has_querier(self) -> bool {
        matches!(self, Self::Everflame | Self::Pyroscope)
    }

    /// Writes the whole request that sends `profiles` into `out`. Only Push takes several.
    pub(crate) fn request(self, out: &mut Vec<u8>, address: &Address, profiles: &[Planned<'_>]) {
        out.clear();
        match (self, profiles) {
            (Self::Everflame | Self::Pyroscope, profiles) => push(out, address, profiles),
            (Self::Parca, [planned, ..]) => write_raw(out, address, planned),
            (Self::Profefe, [planned, ..]) => profefe(out, address, planned),
            (Self::Parca | Self::Profefe, []) => {}
        }
    }

    /// Whether `response` says that the profile was taken.
    pub(crate) fn accepted(self, response: &Response) -> bool {
        let trailer = b"grpc-status:0";
        let ok = || {
            let body = response.body.iter().copied().filter(|byte| *byte != b' ').collect::<Vec<_>>();
            body.windows(trailer.len()).any(|window| window.eq_ignore_ascii_case(trailer))
        };
        response.status == 200 && (self != Self::Parca || ok())
    }
}

/// PushRequest { series { labels, samples { raw_profile } } }, one series for each profile.
fn push(out: &mut Vec<u8>, address: &Address, profiles: &[Planned<'_>]) {
    let raw_len = |planned: &Planned<'_>| planned.body.gzip.len() + TIME_MEMBER;
    let series_len = |planned: &Planned<'_>| {
        planned.series.labels.len() + wire::field_len(wire::field_len(raw_len(planned)))
    };
    let len = profiles.iter().map(|planned| wire::field_len(series_len(planned))).sum();
    post_head(out, address, "/push.v1.PusherService/Push", "application/proto", len);
    for planned in profiles {
        wire::head(out, 1, series_len(planned));
        out.extend_from_slice(&planned.series.labels);
        let raw = raw_len(planned);
        raw_sample(out, planned, wire::field_len(raw), raw);
    }
}

/// WriteRawRequest { series { labels { labels }, samples { raw_profile } } } in one gRPC-Web frame.
fn write_raw(out: &mut Vec<u8>, address: &Address, planned: &Planned<'_>) {
    let raw = planned.body.gzip.len() + TIME_MEMBER;
    let sample = wire::field_len(raw);
    let labels = &planned.series.labels;
    let series = wire::field_len(labels.len()) + wire::field_len(sample);
    let len = wire::field_len(series);
    let path = "/api/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";
    post_head(out, address, path, "application/grpc-web+proto", len + 5);
    out.push(0);
    out.extend_from_slice(&(len as u32).to_be_bytes());
    wire::head(out, 2, series);
    wire::bytes(out, 1, labels);
    raw_sample(out, planned, sample, raw);
}

fn raw_sample(out: &mut Vec<u8>, planned: &Planned<'_>, sample: usize, raw: usize) {
    wire::head(out, 2, sample);
    wire::head(out, 1, raw);
    out.extend_from_slice(&planned.body.gzip);
    push_time(out, planned.time);
}

fn profefe(out: &mut Vec<u8>, address: &Address, planned: &Planned<'_>) {
    let path = format!(
        "/api/0/profiles?service={}&type=cpu&labels=pod%3D{}&created_at={}",
        planned.series.service,
        planned.series.pod,
        created_at(planned.time),
    );
    let len = planned.body.gzip.len() + TIME_MEMBER;
    post_head(out, address, &path, "application/octet-stream", len);
    out.extend_from_slice(&planned.body.gzip);
    push_time(out, planned.time);
}

/// profefe's times: `2006-01-02T15:04:05`, UTC.
fn created_at(time: Nanos) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time))
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;
    use crate::wire::{Value, fields};

    fn body_of(target: Target) -> (String, Vec<u8>) {
        let plan = plan::tests::plan();
        let mut request = Vec::new();
        target.request(&mut request, &Address("peer:1".to_owned()), &[plan.profile(1)]);
        let split = request.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(request[..split].to_vec()).unwrap();
        let body = request.split_off(split);
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        (head, body)
    }

    fn message(message: &[u8], field: u32) -> &[u8] {
        let found = fields(message).unwrap().into_iter().find(|(number, _)| *number == field);
        let Some((_, Value::Bytes(bytes))) = found else { panic!("no field {field}") };
        bytes
    }

    #[test]
    fn push_nests_as_the_wire_says() {
        let (head, body) = body_of(Target::Everflame);
        assert!(head.starts_with("POST /push.v1.PusherService/Push HTTP/1.1\r\n"));
        let series = message(&body, 1);
        assert_eq!(message(message(series, 1), 2), b"process_cpu");
        let raw = message(message(series, 2), 1);
        assert_eq!(raw.len(), 2 + TIME_MEMBER);
    }

    #[test]
    fn push_takes_several() {
        let plan = plan::tests::plan();
        let mut request = Vec::new();
        let profiles = [plan.profile(0), plan.profile(1)];
        Target::Everflame.request(&mut request, &Address("peer:1".to_owned()), &profiles);
        let head = String::from_utf8_lossy(&request).find("\r\n\r\n").unwrap() + 4;
        let body = &request[head..];
        assert!(String::from_utf8_lossy(&request).contains(&format!("Content-Length: {}\r\n", body.len())));
        assert_eq!(fields(body).unwrap().len(), 2);
    }

    #[test]
    fn write_raw_is_one_frame() {
        let (_, body) = body_of(Target::Parca);
        assert_eq!(body[0], 0);
        assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
        let series = message(&body[5..], 2);
        assert_eq!(message(message(message(series, 1), 1), 1), b"__name__");
        assert_eq!(message(message(series, 2), 1).len(), 2 + TIME_MEMBER);
        let refused = Response { status: 200, body: b"grpc-status: 3\r\n".to_vec() };
        assert!(!Target::Parca.accepted(&refused));
        let taken = Response { status: 200, body: b"grpc-status: 0\r\n".to_vec() };
        assert!(Target::Parca.accepted(&taken));
    }

    #[test]
    fn profefe_has_its_labels_in_the_query() {
        let (head, _) = body_of(Target::Profefe);
        assert!(head.contains("service=svc-001&type=cpu&labels=pod%3Dsvc-001-1&created_at=2027-"), "{head}");
    }
}
