//! Debug files come from agents and servers, and addresses get names: also those of profiles stored before.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use anyhow::{Context, Result, ensure};
use everflame_tests::debug_files::{
    Call, Sampled, calls, calls_once, initiate, names, send, send_in_a_stream, source, tool, upload,
};
use everflame_tests::parca::{FINISHED, INITIATE, SHOULD, ask, ask_over, number};
use everflame_tests::rpc::{Coding, Wire};
use everflame_tests::{Server, debuginfod, skip, until};
use serde_json::{Value, json};
use tempfile::TempDir;

const C_BUILD: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee01";
const GO_BUILD: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee02";

/// A program that was built here.
struct Built {
    folder: TempDir,
    sampled: Sampled,
}

impl Built {
    /// From `tests/programs/inlined.c`, with debug information.
    fn c(arguments: &[&str]) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let (id, source) = (format!("-Wl,--build-id=0x{C_BUILD}"), source("inlined.c"));
        let mut all = vec!["-O2", "-g", "-o", "inlined", id.as_str(), source.as_str()];
        all.extend(arguments);
        if tool("gcc", &all, folder.path())?.is_none() {
            return Ok(None);
        }
        Self::of(folder, C_BUILD).map(Some)
    }

    /// From `tests/programs/inlined.go`.
    fn go(flags: &str) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let (flags, source) = (format!("-ldflags={flags} -B 0x{GO_BUILD}"), source("inlined.go"));
        let all = ["build", "-o", &folder.path().join("inlined").display().to_string(), &flags, &source];
        if tool("go", &all, Path::new("/"))?.is_none() {
            return Ok(None);
        }
        Self::of(folder, GO_BUILD).map(Some)
    }

    fn of(folder: TempDir, build_id: &str) -> Result<Self> {
        let sampled = Sampled::run(&folder.path().join("inlined"), build_id)?;
        Ok(Self { folder, sampled })
    }

    /// What `program` makes of it, with `{}` for the name of the result.
    fn made(&self, program: &str, arguments: &[&str]) -> Result<Option<Vec<u8>>> {
        let mut all = arguments.to_vec();
        all.extend(["inlined", "made"]);
        match tool(program, &all, self.folder.path())? {
            None => Ok(None),
            Some(_) => Ok(Some(std::fs::read(self.folder.path().join("made"))?)),
        }
    }

    fn whole(&self) -> Result<Vec<u8>> {
        Ok(std::fs::read(&self.sampled.program)?)
    }
}

/// What lies at the address of the C program: function, file, line in `inlined.c`.
fn c_calls() -> Vec<Call> {
    let call = |name: &str, line| (name.to_owned(), "inlined.c".to_owned(), line);
    vec![call("innermost", 13), call("middle", 18), call("outermost", 22)]
}

#[tokio::test]
async fn profiles_get_names_when_their_file_comes() -> Result<()> {
    let Some(built) = Built::c(&["-fPIE", "-pie"])? else {
        return skip("debug_files", "gcc is not installed");
    };
    let mut server = Server::start()?;
    built.sampled.push(&server, "before", 5).await?;
    let found = calls(&server, "before").await?;
    ensure!(names(&found) == [built.sampled.unresolved()], "{found:?}");

    upload(&server, C_BUILD, &built.whole()?).await?;
    let expected = c_calls();
    ensure!(
        calls_once(&server, "before", "innermost").await? == expected,
        "{:?}",
        calls(&server, "before").await?
    );
    // Another start of the program was elsewhere in memory; agents send what the file has.
    built.sampled.moved(0x10_0000).push(&server, "elsewhere", 5).await?;
    ensure!(calls_once(&server, "elsewhere", "innermost").await? == expected);
    built.sampled.normalised().push(&server, "normalised", 5).await?;
    ensure!(calls_once(&server, "normalised", "innermost").await? == expected);
    // The samples of two starts are of one stack.
    built.sampled.moved(0x10_0000).push(&server, "before", 6).await?;
    ensure!(calls(&server, "before").await? == expected);

    server.shutdown()?;
    server.restart()?;
    ensure!(calls_once(&server, "before", "innermost").await? == expected);
    server.kill9()?;
    server.restart()?;
    ensure!(calls_once(&server, "before", "innermost").await? == expected);
    let (_, metrics) = server.get("/metrics", &[]).await?;
    let metrics = String::from_utf8(metrics)?;
    for line in
        ["everflame_debug_files 1", "everflame_debug_files_bytes ", "everflame_symbols_resolved_total "]
    {
        ensure!(metrics.lines().any(|found| found.starts_with(line)), "{line} is not in\n{metrics}");
    }
    Ok(())
}

/// The names of the one stack of `service` in SQL, as `what` has them: from the leaf to the root.
async fn names_in_sql(server: &Server, service: &str, what: &str) -> Result<Vec<String>> {
    let statement = format!("SELECT {what} AS names FROM stacks WHERE service = '{service}'");
    let request = server.http().post(server.url("/api/v1/sql")).json(&json!({ "query": statement }));
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    let rows = answer["rows"].as_array().context("rows")?;
    ensure!(rows.len() == 1, "{statement}: {answer}");
    let names = rows[0]["names"].as_array().with_context(|| answer.to_string())?.iter();
    names.map(|name| Ok(name.as_str().context("a name")?.to_owned())).collect()
}

#[tokio::test]
async fn stacks_in_sql_have_names_from_debug_files() -> Result<()> {
    let Some(built) = Built::c(&["-fPIE", "-pie"])? else {
        return skip("debug_files", "gcc is not installed");
    };
    let mut server = Server::start()?;
    built.sampled.push(&server, "service", 5).await?;
    let functions = "array_reverse(functions)";
    let unresolved = vec![built.sampled.unresolved()];
    ensure!(names_in_sql(&server, "service", functions).await? == unresolved);
    upload(&server, C_BUILD, &built.whole()?).await?;
    let expected = calls_once(&server, "service", "innermost").await?;
    // In the head, and in a file.
    for _ in 0..2 {
        for what in [
            functions,
            "make_array(frames[1]['function'], frames[2]['function'], frames[3]['function'])",
            "make_array(function, frames[2]['function'], functions[1])",
        ] {
            let found = names_in_sql(&server, "service", what).await?;
            ensure!(found == names(&expected), "{what}: {found:?}");
        }
        let frames = "make_array(split_part(frames[1]['file'], '/', -1), \
                      CAST(frames[1]['line'] AS varchar), frames[1]['build_id'], \
                      CAST(frames[1]['inlined'] AS varchar), CAST(frames[3]['inlined'] AS varchar))";
        let found = names_in_sql(&server, "service", frames).await?;
        ensure!(found == ["inlined.c", "13", C_BUILD, "true", "false"], "{found:?}");
        server.shutdown()?;
        server.restart()?;
    }
    // Without its file the address has no name.
    let forget = json!({"gnuBuildId": C_BUILD});
    server.connect("debuginfo.v1alpha1.DebuginfoService/DeleteDebuginfo", &forget).await?;
    ensure!(names_in_sql(&server, "service", functions).await? == unresolved);
    Ok(())
}

#[tokio::test]
async fn every_kind_of_file_gives_what_it_has() -> Result<()> {
    let Some(built) = Built::c(&["-fPIE", "-pie"])? else {
        return skip("debug_files", "gcc is not installed");
    };
    let expected = c_calls();
    let without_lines = vec![("outermost".to_owned(), String::new(), 0)];
    type Case<'a> = (&'a str, &'a str, &'a [&'a str], &'a [Call]);
    let cases: [Case<'_>; 5] = [
        ("debug information alone", "objcopy", &["--only-keep-debug"], &expected),
        ("compressed", "objcopy", &["--compress-debug-sections=zlib"], &expected),
        ("compressed in the old way", "objcopy", &["--compress-debug-sections=zlib-gnu"], &expected),
        ("the symbol table", "objcopy", &["--strip-debug"], &without_lines),
        ("nothing", "objcopy", &["--strip-all"], &[]),
    ];
    for (name, program, arguments, expected) in cases {
        let Some(file) = built.made(program, arguments)? else {
            return skip("debug_files", "objcopy is not installed");
        };
        let server = Server::start()?;
        built.sampled.push(&server, "service", 5).await?;
        upload(&server, C_BUILD, &file).await?;
        match expected.first() {
            Some((leaf, ..)) => {
                let found = calls_once(&server, "service", leaf).await?;
                ensure!(found == expected, "{name}: {found:?}");
            }
            None => {
                let found = calls(&server, "service").await?;
                ensure!(names(&found) == [built.sampled.unresolved()], "{name}: {found:?}");
            }
        }
    }
    // A program that is always at the same place.
    let Some(fixed) = Built::c(&["-no-pie"])? else { return skip("debug_files", "gcc is not installed") };
    let server = Server::start()?;
    fixed.sampled.push(&server, "service", 5).await?;
    upload(&server, C_BUILD, &fixed.whole()?).await?;
    ensure!(calls_once(&server, "service", "innermost").await? == c_calls());
    Ok(())
}

/// What Pyroscope's agent does: asks, sends the file as a body, says that it is done.
async fn upload_to_pyroscope(server: &Server, build_id: &str, file: Vec<u8>) -> Result<()> {
    let service = "debuginfo.v1alpha1.DebuginfoService";
    let asked = json!({"file": {"gnuBuildId": build_id, "name": "inlined", "type": "TYPE_EXECUTABLE_FULL"}});
    let wanted = server.connect(&format!("{service}/ShouldInitiateUpload"), &asked).await?;
    ensure!(wanted["shouldInitiateUpload"] == json!(true), "{wanted}");
    let wanted = server.connect(&format!("{service}/ShouldInitiateUpload"), &asked).await?;
    let reason = wanted["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with("A previous upload is still in-progress"), "{wanted}");
    let size = file.len();
    let path = format!("/{service}/Upload/{build_id}");
    let answer = server.post(&path, &[], file).await?;
    ensure!(answer.0 == 200, "{answer:?}");
    server.connect(&format!("{service}/UploadFinished"), &json!({"gnuBuildId": build_id})).await?;
    let listed = server.connect(&format!("{service}/ListDebuginfo"), &json!({})).await?;
    let listed = &listed["object"][0];
    ensure!(
        listed["state"] == "STATE_UPLOADED"
            && listed["file"]["gnuBuildId"] == build_id
            && listed["file"]["name"] == "inlined"
            && number(&listed["sizeBytes"]) == i64::try_from(size)?,
        "{listed}"
    );
    Ok(())
}

#[tokio::test]
async fn go_programs_have_names_with_and_without_debug_information() -> Result<()> {
    let call = |name: &str, line| (format!("main.{name}"), "inlined.go".to_owned(), line);
    let expected = [call("innermost", 11), call("middle", 15), call("outermost", 20), call("main", 25)];
    for flags in ["", "-s -w"] {
        let Some(built) = Built::go(flags)? else { return skip("debug_files: Go", "go is not installed") };
        let server = Server::start()?;
        built.sampled.push(&server, "service", 5).await?;
        ensure!(names(&calls(&server, "service").await?) == [built.sampled.unresolved()]);
        upload_to_pyroscope(&server, GO_BUILD, built.whole()?).await?;
        let found = calls_once(&server, "service", "main.innermost").await?;
        ensure!(found[..] == expected[..3], "{flags}: {found:?}");
        // Without the file there are no names again.
        let service = "debuginfo.v1alpha1.DebuginfoService";
        server.connect(&format!("{service}/DeleteDebuginfo"), &json!({"gnuBuildId": GO_BUILD})).await?;
        ensure!(names(&calls(&server, "service").await?) == [built.sampled.unresolved()]);
    }
    Ok(())
}

#[tokio::test]
async fn agents_of_old_send_a_file_in_one_stream() -> Result<()> {
    let Some(built) = Built::c(&["-fPIE", "-pie"])? else {
        return skip("debug_files", "gcc is not installed");
    };
    let file = built.whole()?;
    let server = Server::start()?;
    built.sampled.push(&server, "service", 5).await?;
    // Nothing of half a file stays.
    let refusal =
        send_in_a_stream(&server, C_BUILD, &file[..file.len() / 2]).await?.err().context("half of it")?;
    ensure!(refusal.code == "invalid_argument" && refusal.message.contains("cut off"), "{refusal:?}");
    let refusal = send_in_a_stream(&server, "../x", &file).await?.err().context("it took a path")?;
    ensure!(refusal.code == "invalid_argument" && refusal.message.contains("no build id"), "{refusal:?}");
    ensure!(names(&calls(&server, "service").await?) == [built.sampled.unresolved()]);
    server
        .connect("debuginfo.v1alpha1.DebuginfoService/DeleteDebuginfo", &json!({"gnuBuildId": C_BUILD}))
        .await?;
    let told = send_in_a_stream(&server, C_BUILD, &file).await?;
    let told = told.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    ensure!(told["init"]["shouldInitiateUpload"] == json!(true), "{told}");
    ensure!(calls_once(&server, "service", "innermost").await? == c_calls());
    let told = send_in_a_stream(&server, C_BUILD, &file).await?;
    let told = told.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    ensure!(told["init"]["shouldInitiateUpload"] == Value::Null, "{told}");
    let reason = told["init"]["reason"].as_str().unwrap_or_default();
    ensure!(reason.starts_with("Debuginfo already exists"), "{told}");
    Ok(())
}

#[tokio::test]
async fn what_is_no_debug_file_is_refused_with_a_word() -> Result<()> {
    let Some(built) = Built::c(&[])? else { return skip("debug_files", "gcc is not installed") };
    let file = built.whole()?;
    let server = Server::start_with(&["--max-debug-file-size=40000B"])?;
    ensure!(file.len() < 40_000, "{}", file.len());
    for build in ["../../../../etc/passwd", "ab/../cd", "..", "abc\u{0}", "ab", "%2e%2e%2f", ""] {
        for (method, request) in [
            (SHOULD, json!({"buildId": build, "buildIdType": 1})),
            (INITIATE, json!({"buildId": build, "buildIdType": 1, "hash": "x", "size": 5})),
            (FINISHED, json!({"buildId": build, "uploadId": "x"})),
        ] {
            let answer = ask_over(&server, Wire::Grpc, Coding::Plain, method, &request).await?;
            let refusal = answer.err().with_context(|| format!("{} took {build:?}", method.path))?;
            ensure!(
                refusal.code == "invalid_argument" && refusal.message.contains("no build id"),
                "{build:?}: {refusal:?}"
            );
        }
        let refusal = send(&server, build, "x", &file).await?.err().context("it took a path")?;
        ensure!(refusal.code == "invalid_argument" && refusal.message.contains("no build id"), "{refusal:?}");
    }
    let other = "0123456789abcdef";
    let refusal = initiate(&server, other, 50_000).await?.err().context("it took too much")?;
    ensure!(refusal.code == "invalid_argument" && refusal.message.contains("40000"), "{refusal:?}");
    let refusal = send(&server, other, "x", &file).await?.err().context("it took what it did not ask for")?;
    ensure!(refusal.code == "failed_precondition", "{refusal:?}");
    let finished = json!({"buildId": other, "uploadId": "x"});
    let refusal = ask_over(&server, Wire::Grpc, Coding::Plain, FINISHED, &finished).await?.err();
    ensure!(refusal.as_ref().is_some_and(|refusal| refusal.code == "not_found"), "{refusal:?}");

    let mut large = file.clone();
    large.resize(45_000, 0);
    let mut cut = file.clone();
    cut.truncate(file.len() / 2);
    let mut broken = file.clone();
    // Where its table of sections is.
    broken[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    type Case<'a> = (&'a str, &'a str, usize, &'a [u8], &'a str, &'a str);
    let cases: [Case<'_>; 7] = [
        ("no ELF file", C_BUILD, 20_000, &[b'x'; 20_000], "invalid_argument", "it is no ELF file"),
        ("empty", C_BUILD, 10, &[], "invalid_argument", "it is empty"),
        ("of another build", other, file.len(), &file, "invalid_argument", "not of 0123456789abcdef"),
        ("larger than announced", C_BUILD, 30, &file, "invalid_argument", "more than the 30 bytes"),
        ("too large", C_BUILD, 39_999, &large, "invalid_argument", "more than the 39999 bytes"),
        ("cut off", C_BUILD, file.len(), &cut, "invalid_argument", "cut off"),
        ("broken", C_BUILD, file.len(), &broken, "invalid_argument", "broken ELF file"),
    ];
    for (name, build, size, file, code, message) in cases {
        let server = Server::start_with(&["--max-debug-file-size=40000B"])?;
        let id = initiate(&server, build, size).await?.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
        let refusal = send(&server, build, "other", file).await?.err().context("it took another id")?;
        ensure!(refusal.code == "invalid_argument" && refusal.message.contains("upload_id"), "{refusal:?}");
        let refusal =
            send(&server, build, &id, file).await?.err().with_context(|| format!("{name} was taken"))?;
        ensure!(refusal.code == code && refusal.message.contains(message), "{name}: {refusal:?}");
        let finished = json!({"buildId": build, "uploadId": id});
        let refusal = ask_over(&server, Wire::Grpc, Coding::Plain, FINISHED, &finished).await?.err();
        ensure!(refusal.as_ref().is_some_and(|refusal| refusal.code == "failed_precondition"), "{refusal:?}");
        // Nothing of it stays but the word that it was asked for.
        let left = files(&server.data().join(".debug-files"))?;
        ensure!(left == [PathBuf::from(build).join("debuginfo.json")], "{name}: {left:?}");
    }
    // A sender who does not say its size is stopped all the same.
    let path = "/debuginfo.v1alpha1.DebuginfoService/Upload";
    let answer = server.post(&format!("{path}/{C_BUILD}"), &[], file.clone()).await?;
    ensure!(answer.0 == 412 && answer.1.contains("ask for one first"), "{answer:?}");
    let asked = json!({"file": {"gnuBuildId": C_BUILD, "type": "TYPE_EXECUTABLE_NO_TEXT"}});
    server.connect("debuginfo.v1alpha1.DebuginfoService/ShouldInitiateUpload", &asked).await?;
    let answer = server.post(&format!("{path}/{C_BUILD}"), &[], large).await?;
    ensure!(answer.0 == 413 && answer.1.contains("40000"), "{answer:?}");
    let answer = server.post(&format!("{path}/..%2f..%2fx"), &[], file.clone()).await?;
    ensure!(answer.0 == 400 && answer.1.contains("no build id"), "{answer:?}");
    // The server lives, and takes what is right.
    upload(&server, C_BUILD, &file).await?;
    let server = Server::start_with(&["--debug-files-size=10000B"])?;
    let refusal = initiate(&server, C_BUILD, file.len()).await?.err().context("it took too much")?;
    ensure!(
        refusal.code == "resource_exhausted" && refusal.message.contains("debug-files-size"),
        "{refusal:?}"
    );
    // By now it is known that there is no room.
    let wanted = ask(&server, SHOULD, &json!({"buildId": C_BUILD, "buildIdType": 1})).await?;
    let reason = wanted["reason"].as_str().unwrap_or_default();
    ensure!(wanted["shouldInitiateUpload"] == Value::Null && reason.contains("debug-files-size"), "{wanted}");
    Ok(())
}

/// All files below `folder`.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for build in std::fs::read_dir(folder)? {
        let build = build?;
        for entry in std::fs::read_dir(build.path())? {
            all.push(PathBuf::from(build.file_name()).join(entry?.file_name()));
        }
    }
    all.sort();
    Ok(all)
}

#[tokio::test]
async fn uploads_survive_a_restart() -> Result<()> {
    let Some(built) = Built::c(&[])? else { return skip("debug_files", "gcc is not installed") };
    let file = built.whole()?;
    let mut server = Server::start()?;
    built.sampled.push(&server, "service", 5).await?;
    let id =
        initiate(&server, C_BUILD, file.len()).await?.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    server.shutdown()?;
    server.restart()?;
    // Somebody is at it.
    let wanted = ask(&server, SHOULD, &json!({"buildId": C_BUILD, "buildIdType": 1})).await?;
    ensure!(wanted["shouldInitiateUpload"] == Value::Null, "{wanted}");
    let again = initiate(&server, C_BUILD, file.len()).await?;
    ensure!(again.is_err_and(|refusal| refusal.code == "failed_precondition"));
    send(&server, C_BUILD, &id, &file).await?.map_err(|refusal| anyhow::anyhow!("{refusal:?}"))?;
    server.kill9()?;
    server.restart()?;
    // Received, but its sender did not say that it is finished.
    ensure!(names(&calls(&server, "service").await?) == [built.sampled.unresolved()]);
    ask(&server, FINISHED, &json!({"buildId": C_BUILD, "uploadId": id})).await?;
    ensure!(calls_once(&server, "service", "innermost").await? == c_calls());
    let again = initiate(&server, C_BUILD, file.len()).await?;
    ensure!(again.is_err_and(|refusal| refusal.code == "already_exists"));
    // Another file is no reason to give up, but has to be forced.
    let another = json!({"buildId": C_BUILD, "buildIdType": 1, "hash": "another", "size": file.len()});
    let again = ask_over(&server, Wire::Grpc, Coding::Plain, INITIATE, &another).await?;
    ensure!(again.is_err_and(|refusal| refusal.code == "failed_precondition"));
    Ok(())
}

#[tokio::test]
async fn without_debug_files_stacks_stay_as_they_were_sent() -> Result<()> {
    let server = Server::start_with(&["--debug-files=false"])?;
    let wanted = ask(&server, SHOULD, &json!({"buildId": C_BUILD, "buildIdType": 1})).await?;
    ensure!(wanted["shouldInitiateUpload"] == Value::Null && wanted["reason"] != Value::Null, "{wanted}");
    let refusal = initiate(&server, C_BUILD, 5).await?.err().context("it was taken")?;
    ensure!(
        refusal.code == "failed_precondition" && refusal.message.contains("debug-files=false"),
        "{refusal:?}"
    );
    ensure!(!server.data().join(".debug-files").exists());
    Ok(())
}

#[tokio::test]
async fn debuginfod_is_asked() -> Result<()> {
    let Some(built) = Built::c(&["-fPIE", "-pie"])? else {
        return skip("debug_files", "gcc is not installed");
    };
    let (url, asked) = debuginfod(C_BUILD, built.whole()?).await?;
    let option = format!("--debuginfod={url}");
    let server = Server::start_with(&[&option])?;
    built.sampled.push(&server, "service", 5).await?;
    let absent = Sampled { build_id: "0123456789".to_owned(), ..built.sampled.clone() };
    absent.push(&server, "absent", 5).await?;
    ensure!(calls_once(&server, "service", "innermost").await? == c_calls());
    for _ in 0..5 {
        ensure!(names(&calls(&server, "absent").await?) == [absent.unresolved()]);
    }
    let once = |name: &str| {
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|path| path.contains(name)).count()
    };
    until("it is asked", async || Ok(once("0123456789") > 0)).await?;
    ensure!((once(C_BUILD), once("0123456789")) == (1, 1), "{asked:?}");
    // What it sends for another build is not kept.
    let (url, _) = debuginfod("0123456789", built.whole()?).await?;
    let option = format!("--debuginfod=http://127.0.0.1:1,{url}");
    let server = Server::start_with(&[&option])?;
    absent.push(&server, "absent", 5).await?;
    calls(&server, "absent").await?;
    until("it has failed", async || Ok(server.metric("everflame_debuginfod_failed_total ").await? >= 1.0))
        .await?;
    ensure!(names(&calls(&server, "absent").await?) == [absent.unresolved()]);
    ensure!(files(&server.data().join(".debug-files"))?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_file_that_breaks_its_reader_breaks_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (id, source) = (format!("-Wl,--build-id=0x{C_BUILD}"), source("bottomless.s"));
    let all = ["-nostdlib", "-static", "-o", "bottomless", id.as_str(), source.as_str()];
    if tool("gcc", &all, folder.path())?.is_none() {
        return skip("debug_files", "gcc is not installed");
    }
    let program = folder.path().join("bottomless");
    let symbols = tool("nm", &["bottomless"], folder.path())?.context("nm")?;
    let start =
        symbols.lines().find(|line| line.ends_with(" _start")).and_then(|line| line.split(' ').next());
    let address = u64::from_str_radix(start.context("_start")?, 16)? + 4;
    let (start, limit) = (address & !0xfff, (address & !0xfff) + 0x1000);
    let build_id = C_BUILD.to_owned();
    let sampled = Sampled { program: program.clone(), build_id, address, start, limit, offset: 0x1000 };
    let server = Server::start()?;
    sampled.push(&server, "service", 5).await?;
    upload(&server, C_BUILD, &std::fs::read(&program)?).await?;
    // Its symbol table is harmless.
    ensure!(names(&calls_once(&server, "service", "_start").await?) == ["_start"]);
    ensure!(server.stderr().contains("reading debug information broke off"), "{}", server.stderr());
    Ok(())
}
