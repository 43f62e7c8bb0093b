//! Whether what lies there already may be used by a service that may do everything: whose it is, and who may write it.
//!
//! In `%ProgramData%` every user may make folders. Owner and access list are judged as the text that the system makes of them (SDDL), so that
//! this is tested everywhere. What refuses somebody does not count: a list can only be judged to let in more than it does.

/// All of them by themselves: the system, its administrators, the built-in one, those of a domain, and who installs Windows.
const TRUSTED: [&str; 6] =
    ["SY", "BA", "LA", "DA", "EA", "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"];
/// What the system writes instead of these numbers.
const SHORT: [(&str, &str); 4] =
    [("S-1-5-18", "SY"), ("S-1-5-19", "LS"), ("S-1-5-20", "NS"), ("S-1-5-32-544", "BA")];
/// To add, to change, to remove, to set attributes or a reparse point, to own, to let others in; what stands for several of these.
const WRITES: u32 =
    0x2 | 0x4 | 0x10 | 0x40 | 0x100 | 0x1_0000 | 0x4_0000 | 0x8_0000 | 0x0200_0000 | 0x5000_0000;
const RIGHTS: [(&str, u32); 20] = [
    ("FA", 0x1f_01ff),
    ("FR", 0x12_0089),
    ("FW", 0x12_0116),
    ("FX", 0x12_00a0),
    ("GA", 0x1000_0000),
    ("GW", 0x4000_0000),
    ("GR", 0x8000_0000),
    ("GX", 0x2000_0000),
    ("RC", 0x2_0000),
    ("SD", 0x1_0000),
    ("WD", 0x4_0000),
    ("WO", 0x8_0000),
    ("CC", 0x1),
    ("DC", 0x2),
    ("LC", 0x4),
    ("SW", 0x8),
    ("RP", 0x10),
    ("WP", 0x20),
    ("DT", 0x40),
    ("LO", 0x80),
];

/// Why it is not trusted, for people; none: it is. `also` are the numbers of whom is trusted too.
pub(super) fn distrusts(list: &str, also: &[String]) -> Option<String> {
    let is_trusted = |who: &str| TRUSTED.contains(&who) || also.iter().any(|it| short(it) == short(who));
    let Some((owner, rest)) = list.strip_prefix("O:").map(|rest| rest.split_at(end_of_part(rest))) else {
        return Some("nobody owns it".to_owned());
    };
    if !is_trusted(owner) {
        return Some(format!("it belongs to {owner}"));
    }
    let rest = rest.strip_prefix("G:").map_or(rest, |rest| &rest[end_of_part(rest)..]);
    let Some(rest) = rest.strip_prefix("D:") else { return Some("everybody may write it".to_owned()) };
    if rest.split('(').next().is_some_and(|flags| flags.contains("NO_ACCESS_CONTROL")) {
        return Some("everybody may write it".to_owned());
    }
    let writer = entries(rest).into_iter().find_map(|entry| {
        let fields: Vec<_> = entry.split(';').collect();
        let [kind, flags, rights, _, _, who, ..] = fields[..] else { return Some(entry) };
        // Whoever makes something in it is one who may write it; who owns it was asked.
        let is_harmless = kind.contains('D') || who == "OW" || (who == "CO" && flags.contains("IO"));
        (!is_harmless && mask(rights) & WRITES != 0 && !is_trusted(who)).then_some(who)
    });
    writer.map(|who| format!("{} may write it", named(who)))
}

/// Where the owner or the group ends.
fn end_of_part(text: &str) -> usize {
    ["G:", "D:", "S:"].iter().filter_map(|part| text.find(part)).min().unwrap_or(text.len())
}

/// The entries of a list, without their brackets; a condition has brackets of its own.
fn entries(list: &str) -> Vec<&str> {
    let (mut found, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => {
                if depth == 0 {
                    begin = at + 1;
                }
                depth += 1;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    found.push(&list[begin..at]);
                }
            }
            // What follows is what is watched.
            'S' if depth == 0 => break,
            _ => {}
        }
    }
    found
}

/// What is not known is taken for everything.
fn mask(rights: &str) -> u32 {
    if let Some(number) = rights.strip_prefix("0x") {
        return u32::from_str_radix(number, 16).unwrap_or(u32::MAX);
    }
    let known = |word: &[u8]| match word {
        b"CR" => 0x100,
        word => RIGHTS.iter().find(|(name, _)| name.as_bytes() == word).map_or(u32::MAX, |(_, mask)| *mask),
    };
    rights.as_bytes().chunks(2).map(known).fold(0, |all, one| all | one)
}

fn short(who: &str) -> &str {
    SHORT.iter().find(|(number, _)| *number == who).map_or(who, |(_, short)| short)
}

fn named(who: &str) -> &str {
    match who {
        "BU" => "every user (BU)",
        "AU" => "every user (AU)",
        "WD" => "everybody (WD)",
        who => who,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "S-1-5-21-1-2-3-1001";

    fn why(list: &str) -> Option<String> {
        distrusts(list, &[ME.to_owned()])
    }

    #[test]
    fn what_is_closed_to_others_is_trusted() {
        for list in [
            "O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;LS)",
            "O:SYG:SYD:P(A;;FA;;;OW)(A;;FA;;;SY)(A;;FA;;;BA)S:AI(AU;;FA;;;WD)",
            "O:S-1-5-21-1-2-3-1001G:DUD:AI(A;OICIIO;GA;;;CO)(A;;FA;;;S-1-5-21-1-2-3-1001)(A;;0x1200a9;;;BU)",
            "O:BAD:(D;;FA;;;BG)(A;;FRFX;;;WD)",
            "O:LAG:DUD:",
        ] {
            assert_eq!(why(list), None, "{list}");
        }
    }

    #[test]
    fn what_belongs_to_another_user_or_can_be_written_by_one_is_not() {
        let inherited = "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIIOID;GA;;;CO)(A;OICIID;0x1200a9;;;BU)(A;CIID;DCLCRPCR;;;BU)";
        for (list, said) in [
            ("O:S-1-5-21-1-2-3-1002G:DUD:P(A;;FA;;;SY)", "belongs to S-1-5-21-1-2-3-1002"),
            ("O:BUG:BUD:P(A;;FA;;;SY)", "belongs to BU"),
            // As a folder that anybody makes in %ProgramData%, and one below C:\.
            (inherited, "every user (BU) may write"),
            ("O:BAG:SYD:AI(A;OICIIOID;SDGXGWGR;;;AU)", "every user (AU) may write"),
            ("O:BAG:SYD:AI(A;OICIID;0x1301bf;;;AU)", "every user (AU) may write"),
            ("O:BAG:SYD:(A;;FA;;;SY)(XA;;FA;;;WD;(@User.a == \"(b)\"))", "everybody (WD) may write"),
            ("O:BAG:SYD:(A;;FA;;;LS)", "LS may write"),
            ("O:BAG:SYD:(A;;ZZ;;;BU)", "may write"),
            ("O:BAG:SYD:(broken)", "broken"),
            ("O:BAG:SYD:NO_ACCESS_CONTROL", "everybody may write"),
            ("O:BAG:SY", "everybody may write"),
            ("D:(A;;FA;;;SY)", "nobody owns"),
        ] {
            assert!(why(list).is_some_and(|why| why.contains(said)), "{list}: {:?}", why(list));
        }
    }

    #[test]
    fn each_right_to_change_something_counts() {
        for rights in ["DC", "LC", "RP", "DT", "CR", "SD", "WD", "WO", "GA", "GW", "FW", "FA", "0x2000000"] {
            let list = format!("O:BAG:SYD:(A;;{rights};;;BU)");
            assert!(why(&list).is_some(), "{rights}");
        }
        for rights in ["FR", "FX", "GR", "GX", "CCSWWPLORC", "0x1200a9"] {
            let list = format!("O:BAG:SYD:(A;;{rights};;;BU)");
            assert_eq!(why(&list), None, "{rights}");
        }
    }

    #[test]
    fn the_account_of_the_service_may_write_by_its_number() {
        let list = "O:BAG:SYD:(A;;FA;;;LS)";
        assert_eq!(distrusts(list, &["S-1-5-19".to_owned()]), None);
    }
}
