//! The machine's time zone and its rules for all zones.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::domain::Invalid;
use crate::domain::zone::Zone;

/// Where systems keep the rules.
const FOLDERS: [&str; 4] = ["/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ", "/etc/zoneinfo"];
const LOCALTIME: &str = "/etc/localtime";
/// The largest of the rules' files has a few kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// The zone of an IANA name: by the system's rules, which are kept up to date, else by those that this program was built with.
pub fn named(name: &str) -> Result<Zone, Invalid> {
    let known = Zone::named(name)?;
    // Only a name that is known becomes a path.
    Ok(FOLDERS.iter().find_map(|folder| read(known.name(), &Path::new(folder).join(known.name()))).unwrap_or(known))
}

/// The system's zone, found as MediaMTX (a Go program) finds it: by `TZ` where that is set, else `/etc/localtime`; UTC where
/// neither says one. Then, or where the rules cannot be read, a sentence says so.
pub fn system() -> (Zone, Option<String>) {
    find(env::var("TZ").ok().as_deref(), Path::new(LOCALTIME))
}

fn find(tz: Option<&str>, localtime: &Path) -> (Zone, Option<String>) {
    let utc = |problem: String| {
        (Zone::utc(), Some(format!("{problem}; names of recordings are taken for UTC. Set [mediamtx] time_zone")))
    };
    match tz.map(|tz| tz.strip_prefix(':').unwrap_or(tz)) {
        Some("") => (Zone::utc(), None),
        Some(path) if path.starts_with('/') => match read(path, Path::new(path)) {
            Some(zone) => (zone, None),
            None => utc(format!("TZ is {path:?}, which holds no time zone")),
        },
        Some(name) => match named(name) {
            Ok(zone) => (zone, None),
            Err(_) => utc(format!("TZ is {name:?}, which is no time zone's IANA name")),
        },
        None => {
            // Often a link into the system's rules; in a container often the mounted file itself.
            let target = fs::canonicalize(localtime).unwrap_or_else(|_| PathBuf::from(localtime));
            let target = target.to_string_lossy();
            let name = target.split_once("/zoneinfo/").map_or(&*target, |(_, name)| name);
            match read(name, localtime) {
                Some(zone) => (zone, None),
                None => utc(format!("{} holds no time zone", localtime.display())),
            }
        }
    }
}

fn read(name: &str, file: &Path) -> Option<Zone> {
    let metadata = fs::metadata(file).ok()?;
    let rules = (metadata.is_file() && metadata.len() <= MAX_BYTES).then(|| fs::read(file).ok()).flatten()?;
    Zone::from_file(name, &rules).ok()
}

#[cfg(test)]
mod tests {
    use crate::domain::time::Timestamp;

    use super::*;

    /// Rules of a zone that is always three hours behind, as `zic` compiles them.
    fn three_hours_behind() -> Vec<u8> {
        let header = |version: u8, times: [u32; 6]| {
            let mut header = [b"TZif".as_slice(), &[version], &[0; 15]].concat();
            header.extend(times.iter().flat_map(|count| count.to_be_bytes()));
            header
        };
        let body = [(-10_800_i32).to_be_bytes().as_slice(), &[0, 0], b"-03\0"].concat();
        let one = [header(b'2', [0, 0, 0, 0, 1, 4]), body].concat();
        [one.clone(), one, b"\n<-03>3\n".to_vec()].concat()
    }

    #[test]
    fn the_zone_is_found_as_mediamtx_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("usr/zoneinfo/America/Somewhere");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, three_hours_behind()).unwrap();
        let localtime = folder.path().join("localtime");
        let shown = |tz: Option<&str>| {
            let (zone, problem) = find(tz, &localtime);
            (zone.name().to_owned(), zone.offset_seconds(Timestamp::from_micros(1_795_433_555_000_000)), problem.is_some())
        };
        assert_eq!(shown(None), ("UTC".into(), 0, true));
        std::os::unix::fs::symlink(&file, &localtime).unwrap();
        assert_eq!(shown(None), ("America/Somewhere".into(), -10_800, false));
        assert_eq!(shown(Some("")), ("UTC".into(), 0, false));
        assert_eq!(shown(Some(":Europe/Rome")), ("Europe/Rome".into(), 3_600, false));
        assert_eq!(shown(file.to_str()), (file.to_str().unwrap().into(), -10_800, false));
        for bad in ["<-03>3", "../../etc/localtime", "/etc/passwd", "/", "/dev/zero", "/missing"] {
            assert_eq!(shown(Some(bad)), ("UTC".into(), 0, true), "{bad}");
        }
        fs::remove_file(&localtime).unwrap();
        fs::copy(&file, &localtime).unwrap();
        assert_eq!(shown(None), (localtime.canonicalize().unwrap().to_str().unwrap().into(), -10_800, false));
        fs::write(&localtime, "no rules").unwrap();
        assert_eq!(shown(None), ("UTC".into(), 0, true));
    }
}
