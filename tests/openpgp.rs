//! Promise: what gpg encrypts, signs and packs is read, and it opens what we write; of what was cut, changed, or signed by nobody who may, nothing is published.
#![cfg(unix)]

mod support;

use std::fmt::Write as _;

use support::{World, lines};
use tempfile::TempDir;

const RECORDS: usize = 500;

/// A world with a key ring of gpg. Its folder has a short name: sockets lie in it.
struct Ring {
    world: World,
    home: TempDir,
}

impl Ring {
    /// `owner` (an RSA key) and `modern` (Curve25519) are keys of ours, `sender` and `stranger` are others' that sign.
    fn new(rule: &str) -> Self {
        let home = TempDir::with_prefix_in("g-", "/tmp").expect("a folder");
        let ring = Self { world: World::new(rule), home };
        ring.gpg(
            "key() { gpg --quick-generate-key \"$1 <$1@example.org>\" $2 $3 never; }
            key owner rsa2048 default; gpg --quick-add-key $(gpg --list-keys --with-colons owner | grep -m1 ^fpr: | cut -d: -f10) rsa2048 encrypt never
            key modern default default
            key sender ed25519 sign; key stranger rsa2048 sign; key expiring ed25519 sign
            for key in owner modern; do gpg --export-secret-keys --armor $key > $key.asc; done
            for key in sender stranger expiring; do gpg --export --armor $key > $key.pub.asc; done",
        );
        ring.world.write("plain", lines(RECORDS));
        ring
    }

    fn gpg(&self, script: &str) -> String {
        let home = self.home.path().display();
        self.world.sh(&format!(
            "export GNUPGHOME={home}; chmod 700 {home}
            gpg() {{ command gpg --batch --yes --quiet --no-tty --trust-model always --pinentry-mode loopback --passphrase \"${{PASS-}}\" \"$@\"; }}
            {script}"
        ))
    }

    /// What gpg makes of a message of ours, unpacked by a program.
    fn opened(&self, file: &str, by: &str) -> String {
        self.gpg(&format!("gpg --decrypt {file} | {by}"))
    }

    fn id_of(&self, key: &str) -> String {
        let listed =
            self.gpg(&format!("gpg --list-keys --with-colons {key} | grep -m1 ^fpr: | cut -d: -f10"));
        listed.trim().to_owned()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.gpg("gpgconf --kill all || true");
    }
}

const READS: &str = r#"
decode = { identities = ["owner.asc", "modern.asc"] }
output = { main = { path = "out/{stem}" } }
"#;

/// Goal: every form that senders use.
#[test]
fn what_gpg_writes_is_read_in_each_form() {
    let ring = Ring::new(READS);
    let mut script = String::new();
    let mut names = Vec::new();
    for key in ["owner", "modern"] {
        for (armor, suffix) in [("--armor", "asc"), ("--no-armor", "gpg")] {
            for compression in ["none", "zip", "zlib", "bzip2"] {
                for (sign, signed) in [("", ""), ("--sign -u sender", "-signed")] {
                    let name = format!("{key}-{compression}{signed}-{suffix}");
                    writeln!(script, "gpg {armor} --compress-algo {compression} {sign} -r {key} -o {name}.{suffix} --encrypt plain").expect("text");
                    names.push(format!("{name}.{suffix}"));
                }
            }
        }
    }
    for (how, name) in [
        ("--sign -u stranger -z0", "only-signed.gpg"),
        ("--sign -u stranger", "packed-and-signed.gpg"),
        ("--sign --textmode --armor -u sender", "text-signed.asc"),
        ("--store", "packed.gpg"),
        ("--encrypt -r owner -R modern --throw-keyids", "nameless.gpg"),
        ("--encrypt -r owner --cipher-algo CAMELLIA256 --set-filename x", "camellia.gpg"),
    ] {
        writeln!(script, "gpg {how} -o {name} plain").expect("text");
        names.push(name.to_owned());
    }
    // From a pipe, whose length nobody knows at its beginning; and a pack within it.
    script += "cat plain | gpg -r modern --encrypt > piped.gpg; gzip -c plain | gpg -r owner -e > gzipped.gz.gpg
        tar c plain | gpg --sign -u sender -r owner -e > tarred.tar.gpg; gpg -r owner -o - -e plain | gzip > around.gpg.gz
        printf '\\n' | cat - owner-none-asc.asc > led.asc\n";
    names.extend(
        ["piped.gpg", "gzipped.gz.gpg", "tarred.tar.gpg", "around.gpg.gz", "led.asc"].map(str::to_owned),
    );
    ring.gpg(&script);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    ring.world.ingest(&names).done();
    for name in &names {
        let stem = name.split('.').next().expect("a stem");
        let text = ring.world.text(format!("out/{stem}"));
        assert!(text.replace('\r', "") == lines(RECORDS), "{name} came out changed");
    }
}

#[test]
fn what_a_passphrase_encrypts_or_protects_is_read_with_the_right_one() {
    let rule = r#"
        decode = { identities = ["guarded.asc"], passphrase_file = "passphrase" }
        output = { main = { path = "out/{stem}" } }
    "#;
    let ring = Ring::new(rule);
    ring.gpg(
        "PASS='open sesame'
        gpg --quick-generate-key guarded default default never; gpg --export-secret-keys --armor guarded > guarded.asc
        gpg -c --s2k-count 65536 -o with.gpg plain; gpg -c --armor --s2k-mode 1 --cipher-algo AES192 -o armored.asc plain
        gpg -e -r guarded -o to.gpg plain; gpg -c --s2k-count 65536 -e -r owner -o both.gpg plain
        gpg -c --s2k-count 65536 -z0 -o flat.gpg plain",
    );
    let all = ["with.gpg", "armored.asc", "to.gpg", "both.gpg", "flat.gpg"];
    let waits = |word: &str| {
        for name in all {
            let ran = ring.world.ingest(&[name]);
            assert_ne!(ran.code, Some(0), "{name}");
            let job = ring.world.job();
            assert_eq!(job["error"]["kind"], "config", "{name}: {job:#}");
            assert!(job["error"]["message"].to_string().contains(word), "{name}: {job:#}");
            assert_eq!(ring.world.files("out"), [""; 0]);
        }
    };
    waits("passphrase");
    ring.world.write("passphrase", "close sesame\n");
    waits("passphrase");
    ring.world.write("passphrase", "open sesame\n");
    ring.world.ingest(&all).done();
    for name in ["with", "armored", "to", "both", "flat"] {
        assert!(ring.world.text(format!("out/{name}")) == lines(RECORDS), "{name} came out changed");
    }
}

const SIGNED: &str = r#"
decode = { identities = ["owner.asc"], signers = ["signers/{name}.asc"], require = ["signed"] }
output = { main = { path = "out/{stem}" } }
"#;

fn signed_world() -> Ring {
    let rule = SIGNED
        .replace("signers/{name}.asc", "sender.pub.asc")
        .replace("\"sender.pub.asc\"", "\"sender.pub.asc\", \"expiring.pub.asc\"");
    Ring::new(&rule)
}

/// Goal: only those whom the rule names.
#[test]
fn only_what_one_of_the_signers_signed_is_taken_where_the_rule_asks_for_it() {
    let ring = signed_world();
    ring.gpg(
        "gpg -e -s -u sender -r owner -o good.gpg plain; gpg -s -u sender -o open.gpg plain; gpg -s -u sender --textmode -o text.gpg plain
        gpg -e -s -u sender -u expiring -r owner -o two.gpg plain
        gpg -e -s -u stranger -r owner -o stranger.gpg plain; gpg -e -r owner -o none.gpg plain
        gpg -e -s -u sender -u stranger -r owner -o mixed.gpg plain
        gpg --clearsign -u sender -o clear.asc plain; gpg --detach-sign -u sender -o detached.gpg plain",
    );
    ring.world.ingest(&["good.gpg", "open.gpg", "text.gpg", "two.gpg"]).done();
    for name in ["good", "open", "text", "two"] {
        assert!(
            ring.world.text(format!("out/{name}")).replace('\r', "") == lines(RECORDS),
            "{name} came out changed"
        );
        ring.world.sh(&format!("rm out/{name}"));
    }
    let stranger = ring.id_of("stranger");
    ring.world.refuses("stranger.gpg", &["none of `decode.signers`", &stranger, "that you trust goes into"]);
    ring.world.refuses("mixed.gpg", &["none of `decode.signers`", &stranger]);
    ring.world.refuses("none.gpg", &["not signed", "gpg --sign"]);
    ring.world.refuses("plain", &["not signed"]);
    ring.world.refuses("clear.asc", &["signed in clear", "in place of `--clearsign`"]);
    ring.world.refuses("detached.gpg", &["no message"]);
}

/// Goal: what its signer wants to be understood is not passed over (RFC 9580, 5.2.3.7); what he merely notes is.
#[test]
fn a_signature_with_a_critical_notation_that_nobody_knows_counts_for_nobody() {
    let ring = signed_world();
    ring.gpg(
        "gpg -e -s -u sender --sig-notation 'unknown@example.org=x' -r owner -o noted.gpg plain
        gpg -e -s -u sender --sig-notation '!unknown@example.org=x' -r owner -o critical.gpg plain",
    );
    ring.world.ingest(&["noted.gpg"]).done();
    ring.world.sh("rm out/noted");
    let hint = "without marking that as critical";
    ring.world.refuses("critical.gpg", &["notation `unknown@example.org`", &ring.id_of("sender"), hint]);
}

/// Goal: who reads a hint does what helps: a key that is trusted already need not be named.
#[test]
fn a_signature_that_is_refused_says_why_and_what_helps_against_that() {
    let rule = SIGNED.replace("signers/{name}.asc", "all.asc");
    let ring = Ring::new(&rule);
    ring.gpg(
        "gpg --quick-generate-key elder dsa2048 sign never; gpg --quick-generate-key brain brainpoolP256r1 sign never
        gpg --export --armor sender elder brain stranger > all.asc
        gpg -s -u elder --digest-algo SHA256 -o dsa.gpg plain
        gpg -s -u stranger --digest-algo SHA1 -o weak.gpg plain; gpg -s -u brain -o brain.gpg plain
        gpg -s -u sender -z0 -o changed.gpg plain; sed -i 's/line 300 /line 301 /' changed.gpg",
    );
    ring.world.ingest(&["dsa.gpg"]).done();
    ring.world.sh("rm out/dsa");
    ring.world.refuses("weak.gpg", &["by a hash, that proves nothing", "SHA-256"]);
    ring.world.refuses("brain.gpg", &["brainpoolP256r1, which is not supported", "Ed25519"]);
    ring.world.refuses("changed.gpg", &["does not fit its content", "ask the sender for the file again"]);
    for file in ["weak.gpg", "brain.gpg", "changed.gpg"] {
        let job = ring.world.refuses(file, &[]);
        assert!(!job["error"]["hint"].to_string().contains("goes into `decode.signers`"), "{job:#}");
    }
    ring.world.landfall(&["check"]).says(&["brainpoolP256r1, which is not supported", "of another kind"]);
}

/// Goal: a secret key is neither published to nor taken for a public one, and one that is locked is told before the first file.
#[test]
fn secret_keys_that_lie_in_the_wrong_file_or_are_locked_are_told_by_check() {
    let rule = r#"
decode = { identities = ["own.asc"] }
output.main = { path = "out/{stem}.pgp", recipients_file = "to.asc" }
"#;
    let ring = Ring::new(rule);
    ring.gpg(
        "export PASS=locked; gpg --quick-generate-key locked rsa2048 encrypt never; gpg --export-secret-keys --armor locked > locked.asc
        gpg --export-secret-keys owner > secret.gpg; gpg --export --armor owner > owner.pub.asc; gpg --export owner > public.gpg
        cat public.gpg secret.gpg > both.gpg; gpg --export-secret-subkeys --armor owner > parts.asc",
    );
    let told = |own: &str, to: &str, code: i32, words: &[&str]| {
        ring.world.sh(&format!("cp {own} own.asc; cp {to} to.asc; chmod 600 *.asc"));
        ring.world.landfall(&["check"]).ends_with(code).says(words);
    };
    told("owner.asc", "owner.pub.asc", 0, &["ok"]);
    told("parts.asc", "public.gpg", 0, &["ok"]);
    for secret in ["owner.asc", "secret.gpg", "both.gpg"] {
        told("owner.asc", secret, 2, &["output.main.recipients_file", "holds a secret key"]);
        assert_ne!(ring.world.ingest(&["plain"]).code, Some(0), "{secret}");
    }
    told("owner.pub.asc", "owner.pub.asc", 2, &["decode.identities[1]", "public keys alone"]);
    told(
        "locked.asc",
        "owner.pub.asc",
        2,
        &["protected by a passphrase, and `decode.passphrase_file` is not"],
    );
    let rule = rule.replace("[\"own.asc\"]", "[\"own.asc\"], passphrase_file = \"pass\"");
    ring.world.configure("", &[&rule]);
    ring.world.sh("umask 077; echo other > pass");
    told("locked.asc", "owner.pub.asc", 2, &["another than that in `decode.passphrase_file`"]);
    ring.world.sh("echo locked > pass");
    told("locked.asc", "owner.pub.asc", 0, &["ok"]);
    assert_eq!(ring.world.files("out"), [""; 0]);
}

/// Goal: nobody looks for damage where there is none.
#[test]
fn a_message_to_a_key_of_a_kind_that_cannot_be_used_says_which_kind_and_what_to_do() {
    let rule = READS.replace("\"modern.asc\"", "\"elder.asc\", \"brain.asc\"");
    let ring = Ring::new(&rule);
    ring.gpg(
        "part() { gpg --quick-add-key $(gpg --list-keys --with-colons $1 | grep -m1 ^fpr: | cut -d: -f10) $2 encrypt never; }
        gpg --quick-generate-key elder dsa2048 sign never; part elder elg1024
        gpg --quick-generate-key brain brainpoolP256r1 sign never; part brain brainpoolP256r1
        for key in elder brain; do gpg --export-secret-keys --armor $key > $key.asc; gpg -e -r $key -o to-$key.gpg plain; done
        gpg -e -r elder -r brain -r owner -o to-all.gpg plain; gpg -e -r elder -R brain -r modern -o to-another.gpg plain",
    );
    ring.world.ingest(&["to-all.gpg"]).done();
    ring.world.sh("rm out/to-all");
    ring.world.refuses("to-elder.gpg", &["encrypted by ElGamal, which is not supported", "X25519"]);
    ring.world.refuses("to-brain.gpg", &["encrypted by ECDH with a Brainpool curve, which is not supported"]);
    // Of neither is a key here, and of the curve the message says nothing.
    ring.world.sh("mv elder.asc elder; mv brain.asc brain; cp owner.asc elder.asc; cp owner.asc brain.asc");
    ring.world.refuses("to-brain.gpg", &["ECDH with a Brainpool curve", "not supported", "X25519"]);
    ring.world.sh("mv elder elder.asc; mv brain brain.asc");
    let told = ring.world.landfall(&["check"]).ends_with(2);
    told.says(&["elder.asc", "its keys are of ElGamal, which is not supported", "brain.asc", "Brainpool"]);
    ring.world.ingest(&["to-another.gpg"]);
    let job = ring.world.job();
    assert_eq!((&job["state"], &job["waiting"]["for"]), (&"held".into(), &"key".into()), "{job:#}");
}

/// Goal: a key that expired waits for its successor, one that was revoked never counts again.
#[test]
fn a_key_that_expired_or_was_revoked_does_not_count() {
    let ring = signed_world();
    let (sender, expiring) = (ring.id_of("sender"), ring.id_of("expiring"));
    ring.gpg(&format!(
        "gpg -e -s -u expiring -r owner -o late.gpg plain; gpg -e -s -u sender -r owner -o revoked.gpg plain
        gpg --faked-system-time 20200101T000000 --quick-generate-key old ed25519 sign 30d
        gpg --faked-system-time 20200102T000000 -s -u old -o old.gpg plain
        cp expiring.pub.asc renewed; gpg --export --armor old > expiring.pub.asc
        sed 's/^:---/---/' $GNUPGHOME/openpgp-revocs.d/{sender}.rev > revocation; gpg --import revocation
        gpg --export --armor {sender} > sender.pub.asc"
    ));
    ring.world.refuses("revoked.gpg", &["revoked", &sender, "never counts again"]);
    ring.world.landfall(&["check"]).says(&["is revoked", &sender, "ask its owner for the key in its place"]);
    // Of the key that is expected nothing is there: its sender is a stranger now.
    ring.world.refuses("late.gpg", &["none of `decode.signers`", &expiring]);
    ring.world.ingest(&["old.gpg"]);
    let job = ring.world.job();
    assert_eq!(job["error"]["kind"], "config", "{job:#}");
    assert!(job["error"]["message"].to_string().contains("expired on 2020-01-31"), "{job:#}");
    assert_eq!(ring.world.files("out"), [""; 0]);
    ring.gpg("gpg --quick-set-expire $(gpg --list-keys --with-colons old | grep -m1 ^fpr: | cut -d: -f10) never; gpg --export --armor old > expiring.pub.asc; mv renewed sender.pub.asc");
    ring.world.ingest(&["old.gpg", "late.gpg"]).done();
    assert_eq!(ring.world.files("out"), ["late", "old"]);
}

/// Goal: what was not verified is not published, wherever it was cut or changed.
#[test]
fn nothing_is_published_of_what_was_cut_or_changed_anywhere() {
    let rule = SIGNED.replace("signers/{name}.asc", "sender.pub.asc");
    let ring = Ring::new(&rule);
    ring.gpg(
        "head -n 40 plain > few; tar cf few.tar few
        gpg -e -s -u sender -r owner -z0 -o flat few; gpg -e -s -u sender -r owner -o packed few
        gpg -s -u sender -z0 -o open few; gpg --armor -e -s -u sender -r owner -o armored few
        gpg -e -s -u sender -r owner -o tarred few.tar; mkdir bad",
    );
    let mut bad = Vec::new();
    for name in ["flat", "packed", "open", "armored", "tarred"] {
        let whole = ring.world.bytes(name);
        let places = (0..whole.len()).filter(|at| at % 41 == 0 || at + 30 > whole.len() && at % 3 == 0);
        for at in places {
            let mut changed = whole.clone();
            // A line end may be another one, and armor's checksum says less than what is proved within.
            let line = whole[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            if name == "armored" && (changed[at].is_ascii_whitespace() || whole[line] == b'=') {
                continue;
            }
            changed[at] ^= 1;
            for (kind, bytes) in [("cut", &whole[..at]), ("changed", &changed[..])] {
                let file = format!("bad/{name}-{kind}-{at}");
                ring.world.write(&file, bytes);
                bad.push(file);
            }
        }
    }
    let files: Vec<_> = bad.iter().map(String::as_str).collect();
    let ran = ring.world.ingest(&files);
    assert_ne!(ran.code, Some(0));
    assert_eq!(ring.world.files("out"), [""; 0], "something was published");
    ring.world.ingest(&["flat", "packed", "open", "armored", "tarred"]).done();
    assert_eq!(ring.world.files("out").len(), 5);
}

/// Goal: a service goes on by itself.
#[test]
fn a_message_waits_for_its_key_and_goes_on_once_it_is_there() {
    let ring = Ring::new(
        r#"paths = ["in/{sender}/*"]
        decode = { identities = ["keys/{sender}.asc"], require = ["encrypted"] }
        output = { main = { path = "out/{stem}" } }"#,
    );
    ring.gpg("mkdir -p keys in/acme; gpg -e -r modern -o x.gpg plain; cp owner.asc keys/acme.asc; mv x.gpg in/acme/pay.gpg");
    let mut service = ring.world.start();
    service.wait_until("the job waits for its key", || {
        let jobs = ring.world.jobs();
        let waits = |job: &serde_json::Value| job["waiting"].to_string().contains("no key of OpenPGP");
        jobs.first().is_some_and(waits).then_some(())
    });
    ring.gpg("cat modern.asc >> keys/acme.asc");
    service.wait_for(&ring.world, "out/pay");
    service.stop();
    assert_eq!(ring.world.text("out/pay"), lines(RECORDS));
}

/// Goal: gpg opens what we write, and so do we.
#[test]
fn outputs_are_encrypted_to_the_keys_of_a_file_and_gpg_opens_them() {
    let rule = |path: &str| format!("output.main = {{ path = \"{path}\", recipients_file = \"to.asc\" }}");
    let ring = Ring::new(&rule("out/{stem}.gz.gpg"));
    ring.gpg("gpg --export --armor owner > to.asc; gpg --export --armor modern >> to.asc");
    for (name, path, by) in [
        ("packed", "out/{stem}.gz.gpg", "gunzip"),
        ("armored", "out/{stem}.asc", "cat"),
        ("binary", "out/{stem}.pgp", "cat"),
    ] {
        ring.world.configure("", &[&rule(path)]);
        ring.world.write(name, lines(40_000));
        ring.world.ingest(&[name]).done();
        let job = ring.world.completed();
        assert!(ring.opened(&path.replace("{stem}", name), by) == lines(40_000), "{name} came out changed");
        let id = job["id"].as_str().expect("an id");
        for key in ["owner.asc", "modern.asc"] {
            let ran = ring.world.landfall(&["output", id, "--identity", key]).done();
            assert!(ran.stdout == lines(40_000), "{key} shows something else of {name}");
        }
        ring.world.landfall(&["output", id]).ends_with(1).says(&["OpenPGP"]);
    }
}

/// Goal: nothing is written that its recipient cannot read any more, and it is told ahead.
#[test]
fn keys_that_expire_are_told_ahead_and_outputs_to_those_that_have_are_held() {
    let rule = r#"paths = ["in/{sender}/*"]
        decode = { identities = ["own/{sender}.asc"], signers = ["keys/{sender}.asc"] }
        output.main = { path = "out/{stem}.pgp", recipients_file = "to.asc" }"#;
    let ring = Ring::new(rule);
    ring.gpg(
        "mkdir -p keys own in/acme
        gpg --quick-generate-key soon default default 20d; gpg --quick-generate-key signs ed25519 sign 20d
        gpg --export --armor soon > to.asc; gpg --export --armor signs > keys/acme.asc; gpg --export-secret-keys --armor soon > own/acme.asc",
    );
    let (soon, signs) = (ring.id_of("soon"), ring.id_of("signs"));
    let told = ring.world.landfall(&["check"]).done().stdout;
    for key in ["decode.signers[1]", "decode.identities[1]", "output.main.recipients_file"] {
        assert!(told.contains(key), "{key}: {told}");
    }
    assert_eq!(told.matches("expires on").count(), 3, "{told}");
    assert!(told.contains(&soon) && told.contains(&signs), "{told}");
    let status = ring.world.landfall(&["status"]).ends_with(1).stdout;
    assert!(status.contains("expires on") && status.contains(&signs), "{status}");
    ring.gpg("gpg --faked-system-time 20200101T000000 --quick-generate-key gone default default 30d; gpg --export --armor gone > to.asc");
    ring.world.sh("cp plain in/acme/pay");
    let ran = ring.world.ingest(&["in/acme/pay"]);
    assert_ne!(ran.code, Some(0));
    assert!(format!("{ran:?}").contains("expired on 2020-01-31"), "{ran:#?}");
    assert_eq!(ring.world.files("out"), [""; 0]);
}
