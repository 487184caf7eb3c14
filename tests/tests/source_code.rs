//! Source code of services, from a repository on this machine and from a server of files.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use everflame_tests::{Repository, Server};
use serde_json::{Value, json};

const OLD: &[u8] = b"package cart\n\nfunc Total() {}\n";
const NEW: &[u8] = b"package cart\n\n// Total adds up.\nfunc Total() {}\n";

/// The answer for a file: its status, and its content or what it was refused with.
async fn file(server: &Server, query: &[(&str, &str)]) -> Result<(u16, Value)> {
    let answer = server.http().get(server.url("/api/v1/source/file")).query(query).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn files_of_a_repository() -> Result<()> {
    let repository = Repository::new()?;
    let large = vec![b'x'; 3 << 20];
    let old =
        repository.commit("v1.0.0", &[("shop/cart.go", OLD), ("large.go", &large), ("data.bin", b"a\0b")])?;
    let new = repository
        .commit("1.1.0", &[("shop/cart.go", NEW), ("main.go", b"package main\n\nfunc run() {}\n")])?;
    // What lies beside the commits is not theirs.
    std::fs::write(repository.path().join("secret.go"), "func secret() {}")?;
    let source_code = format!(
        r#"{{service_name=~"shop.*"}} git={path} repository=https://github.com/example/shop; {{service_name="app"}} git={path} strip=/app root=shop"#,
        path = repository.path().display()
    );
    let server = Server::start_with(&["--source-code", &source_code])?;

    let shop = |file, revision| {
        [("service", "shop-eu"), ("file", file), ("function", "shop.Total"), ("revision", revision)]
    };
    for (path, revision, expect, commit, exact) in [
        ("/home/ci/build/shop/cart.go", "", NEW, &new, true),
        ("example.com/everything/shop/cart.go", "1.1.0", NEW, &new, true),
        ("shop/cart.go", "v1.0.0", OLD, &old, true),
        ("shop/cart.go", "1.0.0", OLD, &old, true),
        ("shop/cart.go", old.as_str(), OLD, &old, true),
        ("shop/cart.go", "2.0.0", NEW, &new, false),
    ] {
        let (status, found) = file(&server, &shop(path, revision)).await?;
        ensure!(status == 200, "{path} at {revision}: {found}");
        ensure!(
            found["content"].as_str().map(str::as_bytes) == Some(expect),
            "{path} at {revision}: {found}"
        );
        ensure!(
            found["revision"] == **commit && found["exact"] == exact && found["path"] == "shop/cart.go",
            "{found}"
        );
        let url = format!("https://github.com/example/shop/blob/{commit}/shop/cart.go");
        ensure!(found["url"] == *url, "{found}");
    }
    let (status, found) = file(&server, &[("service", "app"), ("file", "/app/cart.go")]).await?;
    ensure!(status == 200 && found["path"] == "shop/cart.go", "{found}");
    // A file that ends alike and does not name the function is another one.
    let (status, _) =
        file(&server, &[("service", "shop"), ("file", "x/main.go"), ("function", "x.other")]).await?;
    ensure!(status == 404, "{status}");
    let (status, _) =
        file(&server, &[("service", "shop"), ("file", "x/main.go"), ("function", "main.run.func1")]).await?;
    ensure!(status == 200, "{status}");

    for (path, revision, expect) in [
        ("secret.go", "", 404),
        (".git/config", "", 404),
        ("/etc/passwd", "", 404),
        ("shop", "", 404),
        ("large.go", "", 404),
        ("data.bin", "", 404),
        ("../secret.go", "", 400),
        ("shop/../../secret.go", "", 400),
        ("shop/cart.go\nHEAD:large.go", "", 400),
        ("shop/cart.go", "HEAD:shop", 400),
        ("shop/cart.go", "--batch-all-objects", 400),
        ("shop/cart.go", "main..v1", 400),
    ] {
        let (status, refused) = file(&server, &shop(path, revision)).await?;
        ensure!(
            status == expect && refused["message"].is_string(),
            "{path} at {revision}: {status} {refused}"
        );
    }
    for (service, expect) in [("shop", true), ("other", false)] {
        let url = server.url(&format!("/api/v1/source?service={service}"));
        let answer: Value = server.http().get(url).send().await?.json().await?;
        ensure!(answer == json!({ "available": expect }), "{service}: {answer}");
    }
    let (status, refused) = file(&server, &[("service", "other"), ("file", "shop/cart.go")]).await?;
    ensure!(
        status == 404 && refused["message"].as_str().is_some_and(|text| text.contains("source-code")),
        "{refused}"
    );

    // The same for Pyroscope's pages.
    let request = json!({
        "repositoryURL": "https://github.com/example/shop.git", "ref": "v1.0.0", "localPath": "cart.go",
        "rootPath": "shop", "functionName": "Total",
    });
    let found = server.connect("vcs.v1.VCSService/GetFile", &request).await?;
    let content =
        base64::engine::general_purpose::STANDARD.decode(found["content"].as_str().context("content")?)?;
    ensure!(
        content == OLD && found["URL"].as_str().is_some_and(|url| url.ends_with("/shop/cart.go")),
        "{found}"
    );
    let unknown = json!({"repositoryURL": "https://github.com/example/other", "localPath": "cart.go"});
    ensure!(server.connect("vcs.v1.VCSService/GetFile", &unknown).await.is_err());
    commits(&server, &old, &new).await
}

/// The commits that Pyroscope's pages show beside a file.
async fn commits(server: &Server, old: &str, new: &str) -> Result<()> {
    let repository = "https://github.com/example/shop";
    let one = async |wanted: &str| {
        let request = json!({"repositoryURL": repository, "ref": wanted});
        server.connect("vcs.v1.VCSService/GetCommit", &request).await
    };
    for (wanted, id, message) in
        [("v1.0.0", old, "v1.0.0"), ("1.0.0", old, "v1.0.0"), (new, new, "1.1.0"), ("", new, "1.1.0")]
    {
        let found = one(wanted).await?;
        ensure!(found["sha"] == id && found["message"] == message, "{wanted}: {found}");
        ensure!(found["URL"] == format!("{repository}/commit/{id}"), "{found}");
        ensure!(found["author"]["login"] == "test", "{found}");
        let date = found["date"].as_str().context("date")?;
        ensure!(date.len() == 20 && date.ends_with('Z') && date.starts_with("20"), "{found}");
    }
    for wanted in ["2.0.0", "--all", "HEAD:shop", "../x"] {
        ensure!(one(wanted).await.is_err(), "{wanted}");
    }
    let several = async |refs: Value| {
        let request = json!({"repositoryUrl": repository, "refs": refs});
        server.connect("vcs.v1.VCSService/GetCommits", &request).await
    };
    let found = several(json!([new, "2.0.0", "v1.0.0", new])).await?;
    let ids: Vec<_> = found["commits"].as_array().into_iter().flatten().map(|one| &one["sha"]).collect();
    ensure!(ids == [new, old, new], "{found}");
    for refused in [json!([]), json!(["2.0.0"]), json!(vec!["v1.0.0"; 101])] {
        ensure!(several(refused.clone()).await.is_err(), "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_no_repository_says_so() -> Result<()> {
    let outer = Repository::new()?;
    outer.commit("v1", &[("a/main.go", b"package main\n")])?;
    let source_code = format!("{{}} git={}", outer.path().join("a").display());
    let server = Server::start_with(&["--source-code", &source_code])?;
    let (status, refused) = file(&server, &[("service", "a"), ("file", "main.go")]).await?;
    ensure!(
        status == 400
            && refused["message"].as_str().is_some_and(|text| text.contains("not a git repository")),
        "{refused}"
    );
    Ok(())
}

/// Serves `/raw/v2/lib/user.rb` and nothing else; answers its address, and what it is asked for.
fn file_server() -> Result<(String, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", listener.local_addr()?);
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let heard = asked.clone();
    let serve = move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let Ok(copy) = stream.try_clone() else { break };
            let lines = BufReader::new(copy).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let token = head.iter().any(|line| line.eq_ignore_ascii_case("authorization: Bearer secret"));
            let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
            let (status, body) = match path.as_str() {
                "/raw/v2/lib/user.rb" if token => ("200 OK", "def find\nend\n"),
                "/raw/main/moved.rb" => ("302 Found\r\nlocation: /raw/v2/lib/user.rb", ""),
                _ => ("404 Not Found", ""),
            };
            heard.lock().unwrap_or_else(PoisonError::into_inner).push(path);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    };
    std::thread::Builder::new().name("files".to_owned()).spawn(serve)?;
    Ok((address, asked))
}

#[tokio::test]
async fn files_of_a_server() -> Result<()> {
    let (address, asked) = file_server()?;
    let source_code = format!(
        "{{}} url={address}/raw/{{ref}}/{{path}} token-variable=CODE_TOKEN strip=/app revision=main repository=example.com/app"
    );
    let server = Server::start_in(
        &[("CODE_TOKEN".to_owned(), "secret".to_owned())],
        &["--source-code", &source_code],
    )?;
    let ask = |path, revision| [("service", "a"), ("file", path), ("revision", revision)];
    let (status, found) = file(&server, &ask("/app/lib/user.rb", "2")).await?;
    ensure!(status == 200 && found["content"] == "def find\nend\n" && found["revision"] == "v2", "{found}");
    ensure!(found["url"] == format!("{address}/raw/v2/lib/user.rb"), "{found}");
    let (status, refused) = file(&server, &ask("/app/moved.rb", "")).await?;
    ensure!(status == 503 && !refused.to_string().contains("secret"), "{refused}");
    ensure!(file(&server, &ask("/app/../x", "")).await?.0 == 400);
    ensure!(file(&server, &ask("/app/none.rb", "2")).await?.0 == 404);
    let commit = json!({"repositoryURL": "example.com/app", "ref": "v2"});
    let refused =
        server.connect("vcs.v1.VCSService/GetCommit", &commit).await.err().context("it has commits")?;
    ensure!(refused.to_string().contains("server of files"), "{refused}");
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure!(asked.iter().all(|path| path.starts_with("/raw/")), "{asked:?}");
    Ok(())
}
