//! What is stored is sent on: over each protocol, past crashes of both ends, and to an end that misbehaves.

use anyhow::{Context, Result, ensure};
use everflame_formats::{Limits, gzip};
use everflame_tests::{FarEnd, Manner, Server, Upload, check_uploads, now_ms, push, stored_uploads, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// An address of loopback that was free a moment ago.
fn free_address() -> Result<String> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

async fn send(server: &Server, uploads: &[Upload]) -> Result<()> {
    for upload in uploads {
        let answer = push(server.http(), server.base(), upload.message()).await?;
        ensure!(answer.status() == 200, "{}", answer.status());
    }
    Ok(())
}

fn uploads(numbers: std::ops::Range<u128>) -> Result<Vec<Upload>> {
    let now = now_ms()? * 1_000_000;
    Ok(numbers.map(|number| Upload::new(number, now, number as usize % 3)).collect())
}

/// Whether the other end has all of them.
async fn has(server: &Server, all: &[Upload]) -> Result<bool> {
    let stored = stored_uploads(server).await?;
    Ok(all.iter().all(|upload| stored.contains_key(&upload.function())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_are_killed_and_everything_arrives() -> Result<()> {
    let (address, folder) = (free_address()?, tempfile::tempdir()?);
    let mut second = Server::start_on(folder.path(), &["--extra-listen", &address])?;
    let mut first = Server::start_with(&["--forward-url", &format!("http://{address}")])?;
    let all = uploads(1..401)?;
    send(&first, &all[..100]).await?;
    until("some arrived", async || Ok(!stored_uploads(&second).await?.is_empty())).await?;
    second.kill9()?;
    // Nobody who sends here notices.
    send(&first, &all[100..200]).await?;
    until("the spool fills", async || Ok(first.metric("everflame_forward_spool_bytes ").await? > 0.0))
        .await?;
    ensure!(first.metric("everflame_forward_lag_seconds ").await? >= 0.0);
    first.kill9()?;
    first.restart()?;
    send(&first, &all[200..300]).await?;
    first.kill9()?;
    first.restart()?;
    until("it is tried again", async || Ok(first.metric("everflame_forward_retries_total ").await? > 0.0))
        .await?;
    second.restart()?;
    send(&first, &all[300..350]).await?;
    // In the middle of what had waited.
    until("more arrived", async || Ok(stored_uploads(&second).await?.len() > 100)).await?;
    second.kill9()?;
    send(&first, &all[350..]).await?;
    second.restart()?;
    until("everything arrived", async || has(&second, &all).await).await?;
    until("all is sent", async || Ok(first.metric("everflame_forward_spool_bytes ").await? == 0.0)).await?;
    // Ids go along: what was sent twice is there once.
    check_uploads(&second, &all, &[]).await?;
    check_uploads(&first, &all, &[]).await?;
    let (ours, theirs) = (first.label_sets("{}").await?, second.label_sets("{}").await?);
    ensure!(ours == theirs && ours.len() == 3, "{ours:?} {theirs:?}");
    ensure!(first.metric("everflame_forward_dropped_total{reason=\"refused\"}").await? == 0.0);
    second.shutdown()?;
    first.shutdown()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_opentelemetry() -> Result<()> {
    for protocol in ["otlp-http", "otlp-grpc"] {
        let (address, folder) = (free_address()?, tempfile::tempdir()?);
        let mut second = Server::start_on(folder.path(), &["--extra-listen", &address])?;
        let url = format!("http://{address}");
        let first = Server::start_with(&[
            "--forward-url",
            &url,
            "--forward-protocol",
            protocol,
            "--forward-selector",
            "{worker!=\"worker-1\"}",
        ])?;
        let all = uploads(1..121)?;
        let sent: Vec<Upload> = all
            .iter()
            .filter(|upload| !upload.message().windows(8).any(|text| text == b"worker-1"))
            .cloned()
            .collect();
        ensure!(sent.len() == 80);
        send(&first, &all[..60]).await?;
        until("some arrived", async || Ok(!stored_uploads(&second).await?.is_empty())).await?;
        second.kill9()?;
        send(&first, &all[60..]).await?;
        second.restart()?;
        until("everything arrived", async || has(&second, &sent).await).await?;
        until("all is sent", async || Ok(first.metric("everflame_forward_spool_bytes ").await? == 0.0))
            .await?;
        check_uploads(&second, &sent, &[]).await.with_context(|| protocol)?;
        let stored = stored_uploads(&second).await?;
        let stored = stored.keys().filter(|name| name.starts_with("upload_")).count();
        ensure!(stored == sent.len(), "{protocol}: {stored} instead of what was selected");
        let sets = second.label_sets("{}").await?;
        ensure!(
            sets == ["service_name=uploads worker=worker-0", "service_name=uploads worker=worker-2"],
            "{sets:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_may_forward_to_each_other() -> Result<()> {
    for protocol in ["push", "otlp-http", "otlp-grpc"] {
        let addresses = [free_address()?, free_address()?];
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        let start = |own: usize| {
            let url = format!("http://{}", addresses[1 - own]);
            let flags: [&str; 6] =
                ["--extra-listen", &addresses[own], "--forward-url", &url, "--forward-protocol", protocol];
            Server::start_on(folders[own].path(), &flags)
        };
        let servers = [start(0)?, start(1)?];
        let all = uploads(1..41)?;
        send(&servers[0], &all[..20]).await?;
        send(&servers[1], &all[20..]).await?;
        // Each sends what it had itself, and what it had from the other, where that ends.
        for server in &servers {
            until("everything went round", async || {
                Ok(server.metric("everflame_forward_sent_total ").await? >= 40.0)
            })
            .await
            .context(protocol)?;
        }
        for server in &servers {
            until("all is sent", async || Ok(server.metric("everflame_forward_spool_bytes ").await? == 0.0))
                .await?;
            ensure!(server.metric("everflame_forward_sent_total ").await? == 40.0, "{protocol}");
            ensure!(server.metric("everflame_forward_returned_total ").await? > 0.0, "{protocol}");
            check_uploads(server, &all, &[]).await.context(protocol)?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_misbehaves() -> Result<()> {
    let manners = [
        Manner::Answer(500, "", "broken"),
        Manner::Answer(429, "retry-after: 1\r\n", ""),
        Manner::Cut,
        Manner::Hang,
        Manner::Answer(503, "", ""),
    ];
    let far = FarEnd::start(&manners).await?;
    let secret = "Bearer tell-nobody";
    let server = Server::start_with(&[
        "--forward-url",
        far.url(),
        "--forward-headers",
        &format!("authorization={secret}; x-scope-orgid=team"),
        "--log-level",
        "debug",
    ])?;
    let all = uploads(1..31)?;
    send(&server, &all[..10]).await?;
    until("it hangs", async || Ok(far.received().len() == 4)).await?;
    // Nobody waits for an end that says nothing.
    send(&server, &all[10..]).await?;
    ensure!(far.received().len() == 4);
    far.let_go();
    until("all is sent", async || Ok(server.metric("everflame_forward_spool_bytes ").await? == 0.0)).await?;
    ensure!(server.metric("everflame_forward_sent_total ").await? == 30.0);
    ensure!(server.metric("everflame_forward_retries_total ").await? == 5.0);

    let received = far.received();
    ensure!(received.iter().all(|request| request.head.contains("authorization: bearer tell-nobody")));
    ensure!(received.iter().all(|request| request.head.contains("x-scope-orgid: team")));
    // What was not taken is sent again as it was.
    ensure!(received[..6].iter().all(|request| request.body == received[0].body));
    // Everything, in order.
    let mut order = Vec::new();
    for request in &received[5..] {
        let message = gzip::inflate(&request.body, &Limits::default())?;
        let text = String::from_utf8_lossy(&message).into_owned();
        for rest in text.split("upload_").skip(1) {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            // The key of the next text is a digit, too.
            order.push(digits.strip_suffix('2').context("no text follows")?.parse::<u128>()?);
        }
    }
    ensure!(order == (1..31).collect::<Vec<_>>(), "{order:?}");

    // The secret is nowhere.
    for path in ["/api/v1/status/config", "/metrics", "/api/v1/status"] {
        let text = server.http().get(server.url(path)).send().await?.text().await?;
        ensure!(!text.contains("tell-nobody"), "{path}: {text}");
    }
    let config = server.http().get(server.url("/api/v1/status/config")).send().await?.text().await?;
    ensure!(config.contains("authorization=<hidden>"), "{config}");
    ensure!(!server.stderr().contains("tell-nobody"), "{}", server.stderr());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_counted() -> Result<()> {
    let manners =
        [Manner::Answer(413, "", ""), Manner::Answer(401, "", "no such tenant"), Manner::Answer(200, "", "")];
    let far = FarEnd::start(&[Manner::Hang].into_iter().chain(manners).collect::<Vec<_>>()).await?;
    let server = Server::start_with(&["--forward-url", far.url()])?;
    send(&server, &uploads(1..2)?).await?;
    until("it hangs", async || Ok(far.received().len() == 1)).await?;
    send(&server, &uploads(2..4)?).await?;
    far.let_go();
    until("all is sent", async || Ok(server.metric("everflame_forward_spool_bytes ").await? == 0.0)).await?;
    // The first alone is too large, and gone; the others come together and are refused.
    ensure!(server.metric("everflame_forward_dropped_total{reason=\"refused\"}").await? == 3.0);
    send(&server, &uploads(4..5)?).await?;
    until("it is sent", async || Ok(server.metric("everflame_forward_sent_total ").await? == 1.0)).await?;
    let (_, answer) = server.get_json("/api/v1/status/dropped", &[("reason", "forward_refused")]).await?;
    let entry = &answer["dropped"][0];
    ensure!(entry["service"] == "uploads" && entry["count"] == 3 && entry["what"] == "forwards", "{answer}");
    let message = entry["example"]["message"].as_str().unwrap_or_default();
    ensure!(message.contains("did not take it: 4"), "{message}");
    ensure!(server.metric("everflame_dropped_total{reason=\"forward_refused\"").await? == 3.0);
    check_uploads(&server, &uploads(1..5)?, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_goes_when_the_other_end_stays_away() -> Result<()> {
    let far = FarEnd::start(&[Manner::Hang]).await?;
    let server = Server::start_with(&["--forward-url", far.url(), "--forward-spool", "64KiB"])?;
    let now = now_ms()? * 1_000_000;
    let all: Vec<Upload> = (1..61).map(|number| Upload::new(number, now, 0).padded(4_000)).collect();
    send(&server, &all).await?;
    let dropped = server.metric("everflame_forward_dropped_total{reason=\"spool_full\"}").await?;
    ensure!(dropped > 0.0 && dropped < 60.0, "{dropped}");
    ensure!(server.metric("everflame_forward_spool_bytes ").await? <= f64::from(64 << 10));
    ensure!(server.metric("everflame_forward_spool_bytes_limit ").await? == f64::from(64 << 10));
    let (_, answer) = server.get_json("/api/v1/status/dropped", &[("reason", "forward_spool_full")]).await?;
    ensure!(answer["dropped"][0]["count"] == dropped as u64, "{answer}");
    far.let_go();
    until("all is sent", async || Ok(server.metric("everflame_forward_spool_bytes ").await? == 0.0)).await?;
    ensure!(server.metric("everflame_forward_sent_total ").await? + dropped == 60.0);
    check_uploads(&server, &all, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_no_answer_before_a_crash_is_sent_when_it_comes_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let all = uploads(1..12)?;
    // It is in the log, and was never spooled: so it is after a crash between the two.
    let mut before = Server::start_on(folder.path(), &[])?;
    send(&before, &all[..10]).await?;
    before.kill9()?;
    let far = FarEnd::start(&[]).await?;
    let server = Server::start_on(folder.path(), &["--forward-url", far.url()])?;
    send(&server, &all[..10]).await?;
    until("they are sent", async || Ok(server.metric("everflame_forward_sent_total ").await? == 10.0))
        .await?;
    // From now on they are known. What comes after them goes out after them.
    send(&server, &all).await?;
    until("all is sent", async || Ok(server.metric("everflame_forward_spool_bytes ").await? == 0.0)).await?;
    until("it is sent", async || Ok(server.metric("everflame_forward_sent_total ").await? >= 11.0)).await?;
    ensure!(server.metric("everflame_forward_sent_total ").await? == 11.0);
    check_uploads(&server, &all, &[]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_senders_who_went_away_left_behind_is_sent_on() -> Result<()> {
    let second = Server::start()?;
    let first = Server::start_with(&["--forward-url", second.base()])?;
    let address = first.base().strip_prefix("http://").context("no http")?;
    let all = uploads(1..301)?;
    for upload in &all {
        let body = upload.message();
        let mut stream = TcpStream::connect(address).await?;
        let head =
            "POST /push.v1.PusherService/Push HTTP/1.1\r\nhost: x\r\ncontent-type: application/proto\r\n";
        stream.write_all(format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes()).await?;
        stream.write_all(&body).await?;
    }
    send(&first, &uploads(301..302)?).await?;
    until("what is stored here is stored there", async || {
        let (here, there) = (stored_uploads(&first).await?, stored_uploads(&second).await?);
        Ok(here.contains_key(&uploads(301..302)?[0].function()) && here == there)
    })
    .await
}

#[tokio::test]
async fn nonsense_is_refused_at_the_start() -> Result<()> {
    for (flags, expect) in [
        (&["--forward-url=localhost:4040"][..], "it is not a URL of http or https"),
        (&["--forward-url=http://user:secret@h"], "which belong into a header"),
        (&["--forward-protocol=http"], "is none of push, otlp-http and otlp-grpc"),
        (&["--forward-headers=secret"], "header 1: it has no ="),
        (&["--forward-selector={a=}"], "flag --forward-selector"),
    ] {
        let ran = everflame_tests::everflame(&[&["config"][..], flags].concat())?;
        ensure!(ran.code == Some(2) && ran.stderr.contains(expect), "{flags:?}: {}", ran.stderr);
        ensure!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let ran = everflame_tests::everflame(&["config", "--forward-headers=authorization=Bearer secret"])?;
    ensure!(ran.stdout.contains("forward-headers: \"authorization=<hidden>\""), "{}", ran.stdout);
    Ok(())
}
