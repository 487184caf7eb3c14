//! Senders whose own packages cannot be installed everywhere: their requests, byte by byte, as they go over
//! the wire, on a bare connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use everflame_formats::gzip;
use everflame_tests::{Message, Server, now_ms, push_message};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// Sends a request of HTTP/1.1 and returns the status line and the rest of the answer.
fn exchange(server: &Server, head: &str, body: &[u8]) -> Result<(String, String)> {
    let address = server.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address)?;
    let head = head.replace("{address}", address).replace("{length}", &body.len().to_string());
    stream.write_all(head.replace('\n', "\r\n").as_bytes())?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (status, rest) = answer.split_once("\r\n").with_context(|| answer.clone())?;
    Ok((status.to_owned(), rest.to_owned()))
}

/// A pprof as the .NET profiler and rbspy make it: no mappings, no addresses, ids from 1.
fn pprof(
    types: &[(&str, &str)],
    values: &[i64],
    file: &str,
    names: [&str; 2],
    time: Option<i64>,
    with_function_ids: WithFunctionIds,
) -> Vec<u8> {
    let mut strings = vec!["", "cpu", "nanoseconds", file, names[0], names[1]];
    let mut profile = Message::new();
    for &(kind, unit) in types {
        let at = strings.len() as u64;
        strings.extend([kind, unit]);
        profile = profile.bytes(1, Message::new().number(1, at).number(2, at + 1));
    }
    profile = profile
        .bytes(2, Message::new().packed(1, [1, 2]).packed(2, values.iter().map(|&value| value as u64)));
    for id in [1_u64, 2] {
        let line = Message::new().number(1, id);
        profile = profile.bytes(4, Message::new().number(1, id).bytes(4, line.number(2, 7)));
        let function = if with_function_ids == WithFunctionIds::Yes {
            Message::new().number(1, id)
        } else {
            Message::new()
        };
        profile = profile.bytes(5, function.number(2, 3 + id).number(4, 3));
    }
    for text in strings {
        profile = profile.bytes(6, text);
    }
    if let Some(time) = time {
        profile = profile.number(9, time as u64).number(10, 10_000_000_000);
    }
    profile.bytes(11, Message::new().number(1, 1).number(2, 2)).number(12, 1).finish()
}

#[derive(Clone, Copy, PartialEq)]
enum WithFunctionIds {
    Yes,
    No,
}

fn multipart(parts: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        body.extend(
            format!(
                "--58d1a2b6f0\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
            .bytes(),
        );
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--58d1a2b6f0--\r\n");
    body
}

async fn check(server: &Server, service: &str, totals: &[(&str, i64)], function: &str) -> Result<()> {
    let matchers = format!("{{service_name=\"{service}\"}}");
    let found = server.totals(&matchers).await?;
    let expect = totals.iter().map(|&(id, total)| (id.to_owned(), total)).collect();
    ensure!(found == expect, "{service}: {found:?} and not {expect:?}");
    let (id, _) = totals.first().context("no types")?;
    let params =
        [("query", format!("{id}{matchers}")), ("from", "1".to_owned()), ("format", "folded".to_owned())];
    let answer =
        server.http().get(server.url("/pyroscope/render")).query(&params).send().await?.text().await?;
    ensure!(answer.contains(function), "{service}: no {function} in {answer}");
    Ok(())
}

/// Before 0.14 the .NET profiler posted forms, each with what its types are called in Pyroscope.
#[tokio::test]
async fn dotnet_by_forms() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()?;
    let types = [
        ("cpu", "nanoseconds"),
        ("alloc-samples", "count"),
        ("alloc-size", "bytes"),
        ("lock-count", "count"),
    ];
    // A time is in the query alone, functions have no ids.
    let profile =
        pprof(&types, &[5_000_000, 2, 4096, 1], "", ["Shop.Cart::Total", "Main"], None, WithFunctionIds::No);
    let config = br#"{"alloc_samples":{"units":"objects","display-name":"alloc_objects"},"alloc_size":{"units":"bytes","display-name":"alloc_space"},"lock_count":{"units":"lock_samples","display-name":"mutex_count"},"inuse-space":{}}"#;
    for (service, from, until) in
        [("net-ms", now - 10_000, now), ("net-ns", (now - 10_000) * 1_000_000, now * 1_000_000)]
    {
        let body = multipart(&[
            ("profile", "profile.pprof", &profile),
            ("sample_type_config", "sample_type_config.json", config),
        ]);
        let head = format!(
            "POST /ingest?name={service}%7Bregion%3Dtest%7D&from={from}&until={until}&spyName=dotnetspy&spyVersion=0.13.0 HTTP/1.1\nHost: {{address}}\nAccept: */*\nContent-Type: multipart/form-data; boundary=58d1a2b6f0\nContent-Length: {{length}}\nConnection: close\n\n"
        );
        let (status, rest) = exchange(&server, &head, &body)?;
        ensure!(status.starts_with("HTTP/1.1 200"), "{status} {rest}");
        let totals = [
            (CPU, 5_000_000),
            ("process_cpu:alloc_samples:count:cpu:nanoseconds", 2),
            ("process_cpu:alloc_size:bytes:cpu:nanoseconds", 4096),
            ("process_cpu:lock_count:count:cpu:nanoseconds", 1),
        ];
        check(&server, service, &totals, "Main;Shop.Cart::Total").await?;
        let labelled = format!("{{service_name=\"{service}\",region=\"test\",pyroscope_spy=\"dotnetspy\"}}");
        ensure!(server.totals(&labelled).await?.len() == totals.len(), "{service}: other labels");
    }
    Ok(())
}

/// Since 0.14 it pushes, uncompressed, each type under a name of its own.
#[tokio::test]
async fn dotnet_by_push() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()? * 1_000_000;
    for (name, kind, unit, value, id) in [
        ("process_cpu", "cpu", "nanoseconds", 5_000_000, CPU),
        ("wall", "wall", "nanoseconds", 9_000_000, "wall:wall:nanoseconds:cpu:nanoseconds"),
        ("memory", "alloc_size", "bytes", 4096, "memory:alloc_size:bytes:cpu:nanoseconds"),
        ("lock", "lock_time", "nanoseconds", 77, "lock:lock_time:nanoseconds:cpu:nanoseconds"),
        ("exception", "exception", "count", 3, "exception:exception:count:cpu:nanoseconds"),
        ("gc", "gc", "nanoseconds", 8, "gc:gc:nanoseconds:cpu:nanoseconds"),
    ] {
        let service = format!("net-{name}");
        let profile = pprof(
            &[(kind, unit)],
            &[value],
            "",
            ["Shop.Cart::Total", "Main"],
            Some(now),
            WithFunctionIds::Yes,
        );
        let labels = [
            ("__name__", name),
            ("service_name", service.as_str()),
            ("spy_name", "dotnetspy"),
            ("otel.scope.name", "com.grafana.pyroscope/dotnet"),
        ];
        let head = "POST /push.v1.PusherService/Push HTTP/1.1\nHost: {address}\nAccept: */*\nUser-Agent: pyroscope-dotnet/0.14.3 cpp-httplib\nContent-Type: application/proto\nContent-Length: {length}\nConnection: close\n\n";
        let (status, rest) = exchange(&server, head, &push_message(&labels, "", &profile))?;
        ensure!(status.starts_with("HTTP/1.1 200"), "{status} {rest}");
        check(&server, &service, &[(id, value)], "Main;Shop.Cart::Total").await?;
        let labelled = format!("{{service_name=\"{service}\",spy_name=\"dotnetspy\"}}");
        ensure!(server.totals(&labelled).await?.len() == 1, "{service}: other labels");
    }
    Ok(())
}

/// The Ruby gem now: a Push in gzip with an id, by the library that Rust and Python use, too.
#[tokio::test]
async fn ruby_by_push() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()? * 1_000_000;
    let profile = pprof(
        &[("cpu", "nanoseconds")],
        &[30_000_000],
        "app.rb",
        ["work", "<main>"],
        Some(now),
        WithFunctionIds::Yes,
    );
    let labels = [
        ("__name__", "process_cpu"),
        ("service_name", "ruby-app"),
        ("otel.scope.name", "com.grafana.pyroscope/ruby"),
        ("process.runtime.name", "ruby"),
        ("region", "test"),
    ];
    let body = gzip::deflate(&push_message(&labels, "01890a5d-ac96-774b-bcce-b302099a8057", &profile));
    let head = "POST /push.v1.PusherService/Push HTTP/1.1\ncontent-type: application/proto\ncontent-encoding: gzip\nuser-agent: pyroscope-rs/rbspy/2.0.0 reqwest\naccept: */*\nhost: {address}\ncontent-length: {length}\nconnection: close\n\n";
    for _ in 0..2 {
        // The second is a retry, which must not count again.
        let (status, rest) = exchange(&server, head, &body)?;
        ensure!(status.starts_with("HTTP/1.1 200"), "{status} {rest}");
    }
    check(&server, "ruby-app", &[(CPU, 30_000_000)], "<main>;work").await
}

/// The Ruby gem before: folded stacks or a pprof, and a slash at the end of the address.
#[tokio::test]
async fn ruby_by_ingest() -> Result<()> {
    let server = Server::start()?;
    let now = now_ms()?;
    let (from, until) = ((now - 10_000) / 1_000, now / 1_000);
    let head = |path: &str, content_type: &str| {
        format!(
            "POST {path}&from={from}&until={until}&sampleRate=100&spyName=rbspy HTTP/1.1\ncontent-type: {content_type}\naccept: */*\nhost: {{address}}\ncontent-length: {{length}}\nconnection: close\n\n"
        )
    };
    let folded = head(
        "//ingest?name=ruby-folded.cpu%7Bregion%3Dtest%7D&format=folded&units=samples&aggregationType=sum",
        "binary/octet-stream",
    );
    let (status, rest) = exchange(&server, &folded, b"<main> - app.rb;work - app.rb 3\n<main> - app.rb 1\n")?;
    ensure!(status.starts_with("HTTP/1.1 200"), "{status} {rest}");
    check(&server, "ruby-folded", &[(CPU, 40_000_000)], "<main> - app.rb;work - app.rb").await?;

    // Times of the first agents with pprof are microseconds.
    let profile = pprof(
        &[("cpu", "nanoseconds")],
        &[20_000_000],
        "app.rb",
        ["work", "<main>"],
        Some(now * 1_000),
        WithFunctionIds::Yes,
    );
    let plain = head("/ingest?name=ruby-pprof&format=pprof", "binary/octet-stream");
    let (status, rest) = exchange(&server, &plain, &profile)?;
    ensure!(status.starts_with("HTTP/1.1 200"), "{status} {rest}");
    check(&server, "ruby-pprof", &[(CPU, 20_000_000)], "app.rb <main>;app.rb work").await
}
