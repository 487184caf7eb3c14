//! Asks a new server some first questions in place of the first user, so that the code between a connection
//! and an answer is in memory when that one comes.

use crate::patience::Patience;
use crate::server::{Server, ServerError, connections};
use crate::wire::querier::v1::{SelectMergeStacktracesRequest, SelectSeriesRequest};
use crate::wire::types::v1::LabelValuesRequest;
use buffa::Message;
use everflame_profile::SERVICE_NAME;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Bytes on their way in one direction.
const BUFFER: usize = 64 << 10;

/// The last millisecond of a time in which there are no profiles: what is asked of it reads no file.
const LONG_AGO: i64 = 2;

impl Server {
    /// Answers what a dashboard asks first: the services, and flame graph and timeline of a time without
    /// profiles. The requests come over connections within the process and are counted like others: they are
    /// meant for a server beside the one that users see.
    ///
    /// # Errors
    /// A question was refused, or not answered.
    pub async fn warm_up(&self) -> Result<(), ServerError> {
        let profile_type = "process_cpu:cpu:nanoseconds:cpu:nanoseconds".to_owned();
        let services = LabelValuesRequest {
            name: SERVICE_NAME.to_owned(),
            start: 1,
            end: LONG_AGO,
            ..Default::default()
        };
        let flame_graph = SelectMergeStacktracesRequest {
            profile_typeID: profile_type.clone(),
            label_selector: "{}".to_owned(),
            start: 1,
            end: LONG_AGO,
            ..Default::default()
        };
        let timeline = SelectSeriesRequest {
            profile_typeID: profile_type,
            label_selector: "{}".to_owned(),
            start: 1,
            end: LONG_AGO,
            step: 1.0,
            ..Default::default()
        };
        let service = TowerToHyperService::new(self.router());
        for (method, message) in [
            ("LabelValues", services.encode_to_vec()),
            ("SelectMergeStacktraces", flame_graph.encode_to_vec()),
            ("SelectSeries", timeline.encode_to_vec()),
        ] {
            let (client, server) = tokio::io::duplex(BUFFER);
            let connection = connections(Patience::default())
                .serve_connection(TokioIo::new(server), service.clone())
                .into_owned();
            let (served, answered) = tokio::join!(connection, ask(client, method, &message));
            let why = answered.err().or(served.err().map(|fault| fault.to_string()));
            why.map_or(Ok(()), |why| Err(ServerError::FirstQuestion { method, why }))?;
        }
        Ok(())
    }
}

/// Sends a message to a method, and reads the answer to its end.
async fn ask(mut connection: DuplexStream, method: &str, message: &[u8]) -> Result<(), String> {
    let head = format!(
        "POST /querier.v1.QuerierService/{method} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/proto\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    let exchange = async {
        connection.write_all(head.as_bytes()).await?;
        connection.write_all(message).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await?;
        Ok(answer)
    };
    let answer: Vec<u8> = exchange.await.map_err(|fault: std::io::Error| fault.to_string())?;
    match answer.starts_with(b"HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(answer.iter().take(200).map(|&byte| char::from(byte)).collect()),
    }
}
