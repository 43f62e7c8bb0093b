//! Why a marker that lies there does not count for a file: the times of both, which of them is at fault, and what to do.
//!
//! Which one counts is judged in `ready`. A sender sets the time of a content as he likes, and may have a wrong clock; the time of the last
//! change is the machine's own.

use std::path::Path;

use jiff::Timestamp;

use super::ready::is_before;
use crate::model::identity::FileIdentity;
use crate::model::shell;

/// A file, or its marker.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) path: &'a Path,
    pub(super) identity: &'a FileIdentity,
}

impl Seen<'_> {
    fn word(&self) -> String {
        shell::word(self.path)
    }
}

/// Of a marker that is that of its file alone.
pub(super) fn of_file(file: Seen<'_>, marker: Seen<'_>, now: Timestamp) -> String {
    let at_fault = at_fault(file, marker, now.as_nanosecond());
    let told = at_fault.unwrap_or_else(|| {
        let [before, after] = shown(marker.identity.mtime_ns, file.identity.mtime_ns);
        let marker = marker.word();
        format!("it is of {before}, the file of {after}: it counts once it is written again (`touch {marker}` will do)")
    });
    format!("its marker is older than the file: {told}")
}

/// Of a marker that is that of its folder.
pub(super) fn of_folder(file: Seen<'_>, marker: Seen<'_>, now: Timestamp) -> String {
    let at_fault = at_fault(file, marker, now.as_nanosecond());
    let told = at_fault.unwrap_or_else(|| {
        let (one, other) = (marker.identity, file.identity);
        let is_older = is_before(one.mtime_ns, other.mtime_ns);
        let [before, after] =
            if is_older { shown(one.mtime_ns, other.mtime_ns) } else { shown(one.ctime_ns, other.ctime_ns) };
        format!(
            "it came, or was changed (other rights or names count, too), at {after}, after the one that is there, of {before}; if it is of \
             that one's batch, `touch {}`",
            marker.word()
        )
    });
    format!("for the next marker of its folder: {told}")
}

/// Of times that say something else than what came first.
fn at_fault(file: Seen<'_>, marker: Seen<'_>, now_ns: i128) -> Option<String> {
    let (own, of_marker) = (file.identity, marker.identity);
    let lets_go_on = || format!("`touch {} {}` lets it go on", file.word(), marker.word());
    if own.ctime_ns > now_ns {
        let [after, now] = shown(own.ctime_ns, now_ns);
        let way = lets_go_on();
        return Some(format!(
            "this machine's clock says {now}, and the file was last changed at {after} by it: the clock was set back; {way}"
        ));
    }
    if !is_before(of_marker.mtime_ns, own.mtime_ns) {
        return None;
    }
    if own.mtime_ns > now_ns {
        let [after, before] = shown(own.mtime_ns, of_marker.mtime_ns);
        let way = lets_go_on();
        return Some(format!(
            "the file's own time, {after}, lies in the future, and the marker is of {before}; {way}, or that time and a marker after it; \
             its sender's clock is wrong"
        ));
    }
    let came_later = !is_before(of_marker.ctime_ns, own.mtime_ns.max(own.ctime_ns));
    came_later.then(|| {
        let [before, after] = shown(of_marker.mtime_ns, own.mtime_ns);
        let [came, _] = shown(of_marker.ctime_ns, of_marker.mtime_ns);
        let marker = marker.word();
        format!(
            "the marker came, or was changed, at {came}, but has an older time, {before}, than the file, {after}, as where it is copied with \
             its time; `touch {marker}` lets it count"
        )
    })
}

/// Both as precisely as tells them apart.
fn shown(one_ns: i128, other_ns: i128) -> [String; 2] {
    const SECOND: i128 = 1_000_000_000;
    let is_precise = one_ns.div_euclid(SECOND) == other_ns.div_euclid(SECOND);
    [one_ns, other_ns].map(|ns| match Timestamp::from_nanosecond(ns) {
        Ok(at) if is_precise => at.to_string(),
        Ok(at) => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => format!("{} s after 1970", ns.div_euclid(SECOND)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i128 = 1_000_000_000;
    const NOW: i128 = 2_000_000_000 * S; // 2033-05-18T03:33:20Z

    fn told(
        of: fn(Seen<'_>, Seen<'_>, Timestamp) -> String,
        file: (i128, i128),
        marker: (i128, i128),
    ) -> String {
        let at = |(mtime_ns, ctime_ns)| FileIdentity { device: 1, inode: 1, size: 1, mtime_ns, ctime_ns };
        let (file, marker) = (at(file), at(marker));
        let now = Timestamp::from_nanosecond(NOW).expect("a time");
        of(
            Seen { path: Path::new("/in/p 0"), identity: &file },
            Seen { path: Path::new("/in/_SUCCESS"), identity: &marker },
            now,
        )
    }

    #[test]
    fn what_is_at_fault_is_told_with_both_times_and_what_lets_the_file_go_on() {
        let [early, late] = [NOW - 20 * S, NOW - 10 * S];
        for of in [of_file as fn(Seen<'_>, Seen<'_>, Timestamp) -> String, of_folder] {
            let future = told(of, (NOW + 9_999 * S, early), (late, late));
            assert!(future.contains("2033-05-18T06:19:59Z, lies in the future"), "{future}");
            assert!(future.contains("of 2033-05-18T03:33:10Z"), "{future}");
            assert!(future.contains("`touch '/in/p 0' /in/_SUCCESS`"), "{future}");
            let copied = told(of, (early, early), (5 * S, late));
            assert!(copied.contains("came, or was changed, at 2033-05-18T03:33:10Z"), "{copied}");
            assert!(
                copied.contains("1970-01-01T00:00:05Z") && copied.contains("2033-05-18T03:33:00Z"),
                "{copied}"
            );
            assert!(copied.contains("`touch /in/_SUCCESS` lets it count"), "{copied}");
            let set_back = told(of, (early, NOW + 5 * S), (early - S, early));
            assert!(
                set_back.contains("the clock was set back; `touch '/in/p 0' /in/_SUCCESS`"),
                "{set_back}"
            );
        }
    }

    #[test]
    fn what_came_later_by_all_times_is_told_to_wait_for_the_next_marker_or_how_this_one_counts() {
        let [early, late] = [NOW - 20 * S, NOW - 10 * S];
        let stale = told(of_file, (late, late), (early, early));
        assert_eq!(
            stale,
            "its marker is older than the file: it is of 2033-05-18T03:33:00Z, the file of 2033-05-18T03:33:10Z: it counts once it is written \
             again (`touch /in/_SUCCESS` will do)"
        );
        for file in [(late, late), (5 * S, late)] {
            let of_others = told(of_folder, file, (early, early));
            assert!(
                of_others.contains(
                    "at 2033-05-18T03:33:10Z, after the one that is there, of 2033-05-18T03:33:00Z"
                ),
                "{of_others}"
            );
            assert!(of_others.contains("`touch /in/_SUCCESS`"), "{of_others}");
        }
        let within_a_second = told(of_folder, (late + 7, late + 7), (late + 5, late + 5));
        assert!(
            within_a_second.contains("03:33:10.000000007Z")
                && within_a_second.contains("03:33:10.000000005Z")
        );
    }
}
