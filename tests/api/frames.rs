//! `GET /frames/:sessionId/:file`.

use std::fs::File;

use crate::support::agent::{START, detection, frame_target, ingest, jpeg, open, picture_file};
use crate::support::daemon::Daemon;
use crate::support::http::Request;

/// A session with one picture: the daemon, its target and its file.
fn pictured() -> (Daemon, String, std::path::PathBuf) {
    let daemon = Daemon::start();
    open(&daemon, "s");
    ingest(&daemon, "s", &[("1", "cup", 0.5)], START, Some(&jpeg(1))).is(200);
    let seen = detection(&daemon, "s", "1");
    let file = picture_file(daemon.home(), &seen);
    (daemon, frame_target(seen["url_frame"].as_str().expect("a picture")), file)
}

#[test]
fn a_frame_is_the_jpeg_that_url_frame_names_with_no_cache_and_an_etag() {
    let (daemon, target, file) = pictured();
    let answer = daemon.get(&target).is(200);
    assert_eq!(answer.body, jpeg(1));
    assert_eq!(answer.must("content-type"), "image/jpeg");
    assert_eq!(answer.must("content-length"), jpeg(1).len().to_string());
    assert_eq!(answer.must("cache-control"), "no-cache");
    assert!(answer.must("etag").starts_with('"'), "a strong tag");
    assert_eq!(std::fs::read(file).unwrap(), jpeg(1), "the enricher finds it below the frames folder");
}

#[test]
fn a_frame_that_the_client_has_is_304_without_a_body() {
    let (daemon, target, _) = pictured();
    let etag = daemon.get(&target).is(200).must("etag").to_owned();
    let mut client = daemon.client();
    for known in [etag.clone(), format!("\"x\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
        let answer = client.send(&Request::get(&target).header("If-None-Match", &known)).is(304);
        assert_eq!(answer.must("etag"), etag);
        assert_eq!(answer.must("cache-control"), "no-cache");
    }
    assert_eq!(client.send(&Request::get(&target).header("If-None-Match", "\"other\"")).is(200).body, jpeg(1));
}

#[test]
fn the_etag_is_of_the_bytes_as_they_now_are() {
    let (daemon, target, file) = pictured();
    let before = daemon.get(&target).is(200);
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    let mut drawn = jpeg(1);
    let middle = drawn.len() / 2;
    drawn[middle] ^= 0x55;
    std::fs::write(&file, &drawn).unwrap();
    File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
    let request = Request::get(&target).header("If-None-Match", before.must("etag"));
    let after = daemon.send(&request).is(200);
    assert_eq!(after.body, drawn, "same length, same time, other bytes");
    assert_ne!(after.must("etag"), before.must("etag"));
    std::fs::write(&file, jpeg(2)).unwrap();
    let longer = daemon.get(&target).is(200);
    assert_eq!(longer.must("content-length"), jpeg(2).len().to_string());
    assert_eq!(longer.body, jpeg(2));
}

#[test]
fn a_frame_that_is_not_there_is_404_and_not_cached() {
    let (daemon, target, file) = pictured();
    for missing in ["/frames/s/nothing.jpg", "/frames/nobody/x.jpg", "/frames/s/x"] {
        let answer = daemon.get(missing).is(404);
        assert!(!answer.error().is_empty());
        assert_eq!(answer.must("cache-control"), "no-store");
    }
    std::fs::remove_file(file).unwrap();
    daemon.get(&target).is(404);
    std::fs::create_dir(daemon.frames_dir().join("s/folder.jpg")).unwrap();
    daemon.get("/frames/s/folder.jpg").is(404);
}

#[test]
fn a_frame_answers_range_206_and_416() {
    let (daemon, target, _) = pictured();
    let (whole, size) = (jpeg(1), jpeg(1).len());
    let get = |range: &str| daemon.send(&Request::get(&target).header("Range", range));
    let part = get("bytes=0-1").is(206);
    assert_eq!((part.body.as_slice(), part.must("content-type")), ([0xff, 0xd8].as_slice(), "image/jpeg"));
    assert_eq!(part.must("content-range"), format!("bytes 0-1/{size}"));
    assert_eq!(get("bytes=-2").is(206).body, [0xff, 0xd9]);
    assert_eq!(get("bytes=100-").is(206).body, whole[100..]);
    let beyond = get(&format!("bytes={size}-")).is(416);
    assert_eq!(beyond.must("content-range"), format!("bytes */{size}"));
}

#[test]
fn a_frame_is_never_compressed() {
    let (daemon, target, _) = pictured();
    let answer = daemon.send(&Request::get(&target).header("Accept-Encoding", "gzip, br")).is(200);
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.body, jpeg(1));
}

#[test]
fn only_the_session_of_the_frame_has_it() {
    let (daemon, target, _) = pictured();
    open(&daemon, "other");
    daemon.get(target.replace("/frames/s/", "/frames/other/")).is(404);
}
