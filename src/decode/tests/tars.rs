//! tars as writers of all ages left them: types without content that tell a size, unknown types, empty numbers, links, what is behind the
//! end. What GNU tar and bsdtar do with these is told in `tests/differential.rs`.

use super::*;

const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";
const V7: &[u8] = b"";

/// A header as its writer left it.
fn header(name: &str, kind: u8, size: u64, magic: &[u8], link: &str) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(156, &[kind]);
    put(157, link.as_bytes());
    put(257, magic);
    summed(block)
}

fn summed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
    let mut blocks = header(name, kind, data.len() as u64, USTAR, "");
    blocks.extend_from_slice(data);
    blocks.resize(blocks.len().next_multiple_of(512), 0);
    blocks
}

fn pax(records: &[u8]) -> Vec<u8> {
    member("pax", b'x', records)
}

fn end(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut all = blocks.concat();
    all.resize(all.len() + 1024, 0);
    all
}

fn read(stored: &[u8]) -> (Vec<String>, Vec<(String, &'static str)>) {
    let (entries, decoded) = world().decode(stored).expect("it is a sound archive");
    let entries =
        entries.iter().map(|(name, text)| format!("{name}:{}", String::from_utf8_lossy(text).trim()));
    let skipped = decoded.skipped.iter().map(|skipped| (skipped.name.to_string(), skipped.reason));
    (entries.collect(), skipped.collect())
}

#[test]
fn a_type_without_content_swallows_no_member_whatever_size_it_tells() {
    for magic in [USTAR, GNU, V7] {
        for kind in b'1'..=b'6' {
            let stored = end(&[
                member("a", b'0', b"one\n"),
                header("link", kind, 600, magic, "a"),
                member("b", b'0', b"two\n"),
                member("c", b'0', b"three\n"),
            ]);
            let (entries, skipped) = read(&stored);
            let is_link = kind == b'1';
            let expected: &[&str] = if is_link {
                &["a:one", "link:one", "b:two", "c:three"]
            } else {
                &["a:one", "b:two", "c:three"]
            };
            assert_eq!(entries, expected, "type {}", char::from(kind));
            assert_eq!(skipped.len(), usize::from(!is_link && kind != b'5'), "type {}", char::from(kind));
        }
    }
}

#[test]
fn a_hard_link_that_has_its_content_with_it_delivers_that() {
    let mut link = header("link", b'1', 4, USTAR, "a");
    link.extend_from_slice(b"own\n");
    link.resize(1024, 0);
    let stored =
        end(&[member("a", b'0', b"one\n"), pax(b"14 mtime=1.50\n"), link, member("b", b'0', b"two\n")]);
    assert_eq!(read(&stored).0, ["a:one", "link:own", "b:two"]);
}

#[test]
fn a_hard_link_delivers_its_targets_content_taken_or_not_and_through_any_layer() {
    let packed = gzip(b"packed\n");
    let stored = end(&[
        member("in/one", b'0', b"one\n"),
        member("in/two.gz", b'0', &packed),
        member("empty", b'0', b""),
        header("1.csv", b'1', 0, USTAR, "in/one"),
        header("2.csv", b'1', 0, GNU, "./in/two.gz"),
        header("3.csv", b'1', 0, V7, "1.csv"),
        header("4.csv", b'1', 0, V7, "empty"),
    ]);
    let (_, key_text) = key();
    for stored in [stored.clone(), gzip(&stored), zstd(&stored)] {
        let world = world().with_key(&key_text).with(|decode| decode.entries = vec!["*.csv".to_owned()]);
        let (entries, decoded) = world.decode(&stored).expect("a sound archive");
        let texts: Vec<_> =
            entries.iter().map(|(_, text)| String::from_utf8_lossy(text).into_owned()).collect();
        assert_eq!(names(&entries), ["1.csv", "2.csv", "3.csv", "4.csv"]);
        assert_eq!(texts, ["one\n", "packed\n", "one\n", ""]);
        assert_eq!(decoded.skipped, []);
        assert_eq!(
            std::fs::read_dir(world.dir.path()).expect("a folder").count(),
            1,
            "the key alone is left"
        );
    }
}

#[test]
fn a_hard_link_whose_content_is_not_to_be_had_fails_and_says_so() {
    let dangling =
        end(&[member("a", b'0', b"one\n"), header("l", b'1', 0, USTAR, "gone"), member("gone", b'0', b"")]);
    let message = world().error(&dangling).to_string();
    assert!(message.contains("member l") && message.contains("hard link to gone"), "{message}");
    let inner = end(&[member("a", b'0', b"one\n"), header("l", b'1', 0, USTAR, "a")]);
    let message = world().error(&end(&[member("inner.tar", b'0', &inner)])).to_string();
    assert!(message.contains("inner.tar/l") && message.contains("hard link"), "{message}");
    let to_link =
        end(&[header("s", b'2', 0, USTAR, "x"), header("l", b'1', 0, USTAR, "s"), member("a", b'0', b"a")]);
    assert_eq!(read(&to_link).1, [("s".to_owned(), "symbolic link"), ("l".to_owned(), "symbolic link")]);
}

#[test]
fn many_links_to_one_member_count_against_the_limits() {
    let mut blocks = vec![member("a", b'0', &[b'a'; 1000])];
    blocks.extend((0..50).map(|i| header(&format!("l{i}"), b'1', 0, USTAR, "a")));
    let world = world().with(|decode| decode.expanded_max = 30_000);
    assert!(matches!(world.error(&end(&blocks)), DecodeError::TooLarge { .. }));
}

#[test]
fn what_is_no_file_is_listed_with_its_reason_if_the_rule_would_take_it() {
    let stored = end(&[
        header("in/", b'5', 0, USTAR, ""),
        header("in/s.csv", b'2', 0, USTAR, "a"),
        header("pipe", b'6', 0, USTAR, ""),
        member(".DS_Store", b'0', b"\0\0"),
        member("in/._a.csv", b'0', b"\0\0"),
        member("in/a.csv", b'0', b"one\n"),
    ]);
    let (entries, skipped) = read(&stored);
    assert_eq!(entries, ["in/a.csv:one"]);
    let listed: Vec<_> = skipped.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
    assert_eq!(listed, ["in/s.csv: symbolic link", "pipe: FIFO", ".DS_Store: hidden", "in/._a.csv: hidden"]);
    let picked = world().with(|decode| decode.entries = vec!["*.csv".to_owned()]);
    assert_eq!(picked.decode(&stored).expect("decodes").1.skipped.len(), 1);
}

#[test]
fn a_member_of_an_unknown_type_is_a_file() {
    for kind in [b'7', b'9', b'Z', b'\0', b'N'] {
        let stored =
            end(&[member("a", b'0', b"one\n"), member("q", kind, b"two\n"), member("b", b'0', b"x\n")]);
        assert_eq!(read(&stored).0, ["a:one", "q:two", "b:x"], "type {}", char::from(kind));
    }
    let volume = end(&[member("a", b'M', b"one\n")]);
    assert!(world().error(&volume).to_string().contains("another volume"));
}

#[test]
fn empty_numbers_and_any_bytes_in_pax_values_are_sound() {
    let mut label = header("backup of monday", b'V', 0, GNU, "");
    for field in [100..108, 108..116, 116..124, 124..136, 136..148] {
        label[field].fill(0);
    }
    let xattr = b"33 SCHILY.xattr.user.x=\n9 path=\n\n";
    let stored = end(&[summed(label), pax(xattr), member("a", b'0', b"one\n")]);
    assert_eq!(read(&stored).0, ["a:one"]);
}

#[test]
fn tars_older_than_their_magic_are_tars() {
    let mut star = header("a", b'0', 4, V7, "");
    star[257..265].copy_from_slice(b"\x001000644");
    star[508..].copy_from_slice(b"tar\0");
    let star = [summed(star), b"one\n".to_vec(), vec![0; 508]].concat();
    let v7 = [header("a", 0, 4, V7, ""), b"one\n".to_vec(), vec![0; 508]].concat();
    for stored in [star, v7] {
        assert_eq!(read(&end(&[stored])).0, ["a:one"]);
    }
    // Written back to back, a header in text is none.
    assert_eq!(world().text(&[b'7'; 600]), [b'7'; 600]);
}

#[test]
fn what_a_writer_left_over_behind_the_end_is_passed_over_and_another_archive_is_not() {
    let small = end(&[member("a", b'0', b"one\n")]);
    let mut left_over = small.clone();
    left_over.extend_from_slice(&member("b", b'0', &vec![b'x'; 20_000])[..10240 - small.len()]);
    assert_eq!(read(&left_over).0, ["a:one"]);
    left_over.resize(4 * 10240, 0);
    assert_eq!(read(&left_over).0, ["a:one"]);

    let mut another = [small.clone(), small.clone()].concat();
    let garbage = |stored: &[u8]| match world().error(stored) {
        DecodeError::Garbage { offset, .. } => offset,
        other => panic!("{other:?}"),
    };
    assert_eq!(garbage(&another), small.len() as u64);
    another.resize(10240, 0);
    assert_eq!(garbage(&another), small.len() as u64);
    let mut behind = small.clone();
    behind.resize(20_000, 0);
    behind.push(b'x');
    assert_eq!(garbage(&behind), 20_000);
    assert_eq!(garbage(&[&small[..], b"x"].concat()), small.len() as u64);
}

#[test]
fn a_fault_is_told_where_it_is() {
    let mut stored = end(&[member("a", b'0', b"one\n"), member("b", b'0', b"two\n")]);
    stored[1024 + 3] = b'x';
    assert!(matches!(world().error(&stored), DecodeError::Corrupt { offset: 1024, .. }));
}

#[test]
fn one_name_twice_is_refused_where_both_are_taken() {
    let twice = [("a.csv", &b"a\n"[..]), ("b.csv", b"b\n"), ("a.csv", b"c\n")];
    let mut zipped = deflated(&[("a.csv", b"a\n"), ("b.csv", b"b\n"), ("c.csv", b"c\n")]);
    while let Some(at) = memchr::memmem::find(&zipped, b"c.csv") {
        zipped[at] = b'a';
    }
    for stored in [tar(&twice), zipped] {
        let message = world().error(&stored).to_string();
        assert!(message.contains("a.csv") && message.contains("this name"), "{message}");
        let other = world().with(|decode| decode.entries = vec!["b.*".to_owned()]);
        assert_eq!(other.text(&stored), b"b\n");
    }
}

#[test]
fn an_archive_without_files_is_not_told_to_widen_the_pattern() {
    for stored in [end(&[header("in/", b'5', 0, USTAR, "")]), deflated(&[]), deflated(&[("in/", b"")])] {
        let error = world().error(&stored);
        assert!(matches!(error, DecodeError::NoEntry { members: 0, .. }), "{error:?}");
        assert!(!error.hint().unwrap_or_default().contains("decode.entries"));
    }
}

#[test]
fn zeros_at_the_beginning_are_no_sign_of_a_tar_unless_the_rule_says_so() {
    for stored in [vec![0; 512], vec![0; 10240], [&[0; 1024][..], b"id,amount\n1,2\n"].concat()] {
        let error = world().error(&stored);
        assert!(matches!(error, DecodeError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("NUL bytes") && !error.to_string().contains("tar"), "{error}");
    }
    let told = world().with(|decode| decode.layers = vec![Layer::Tar]);
    assert!(matches!(told.error(&[0; 10240]), DecodeError::NoEntry { members: 0, .. }));
}
