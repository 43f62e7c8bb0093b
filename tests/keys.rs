//! Promise: what a key would be refused for when it is needed, `landfall check` tells before; and what `check` calls ok works.
#![cfg(unix)]

mod support;

use support::World;

/// Goal: nobody finds out by the first file. Method: each kind of a broken key file against `check`, and against a file that needs it; put
/// right, both are content.
#[test]
fn a_key_file_that_opens_nothing_is_told_by_check_before_the_first_file_waits_for_it() {
    let rule = r#"
decode = { identities = ["used.key"] }
output = { main = { path = "out/{stem}" } }
"#;
    let world = World::new(rule);
    let recipient = world.age_key_in("good.key");
    world.write("plain", "1\n2\n");
    world.sh(&format!(
        "age -r {recipient} -o pay.age plain; age-keygen -y good.key > public.key
        age-keygen -o other.key 2>/dev/null; : > empty.key; printf 'AGE-SECRET-KEY-1BROKEN\n' > broken.key
        printf '# nothing\n' > comment.key; mkdir folder.key; mkfifo pipe.key; head -c 40 good.key > cut.key
        ssh-keygen -q -t ed25519 -N secret -f locked.key; ssh-keygen -q -t ecdsa -N '' -f ecdsa.key
        printf 'AGE-SECRET-KEY-1NOT\\377TEXT\n' > bytes.key"
    ));
    for (file, words) in [
        ("empty.key", "it holds no identity"),
        ("comment.key", "it holds no identity"),
        ("broken.key", "cannot use the key file"),
        ("public.key", "cannot use the key file"),
        ("bytes.key", "it is no text"),
        ("folder.key", "cannot use the key file"),
        ("locked.key", "protected by a passphrase"),
        ("pipe.key", "it is no regular file"),
        ("ecdsa.key", "SSH keys of this type cannot decrypt"),
    ] {
        world.sh(&format!("rm -rf used.key; cp -rp {file} used.key; chmod go= used.key"));
        let told = world.landfall(&["check"]).ends_with(2);
        told.says(&["decode.identities[1]", words, "used.key"]);
        world.ingest(&["pay.age"]);
        let job = world.job();
        assert_eq!(
            (&job["state"], &job["waiting"]["for"]),
            (&"held".into(), &"key".into()),
            "{file}: {job:#}"
        );
        assert!(job["error"]["message"].to_string().contains(words), "{file}: {job:#}");
    }
    world.sh("rm -rf used.key; cp good.key used.key; chmod 600 used.key");
    world.landfall(&["check"]).done();
    world.ingest(&["pay.age"]).done();
    assert_eq!(world.text("out/pay"), "1\n2\n");
}

/// Nobody is at the other end: who waited for it would wait for ever.
#[test]
fn a_pipe_in_place_of_a_key_or_a_trail_holds_up_no_command() {
    let rule = "decode = { identities = [\"pipe\"], passphrase_file = \"pipe\", signers = [\"pipe\"],
        symmetric_encryption = { keys = [{ version = 1, key_file = \"pipe\" }] } }
        output = { main = { path = \"out/{stem}.age\", recipients_file = \"pipe\" } }";
    let world = World::with_service(
        "audit = true\nlisten = \"127.0.0.1:0\"\ntls = { certificate = \"pipe\", key = \"pipe\" }",
        rule,
    );
    world.sh("mkfifo -m 600 pipe; mkdir -p data/audit; chmod 700 data data/audit");
    world.landfall(&["check"]).ends_with(2).says(&["decode.identities[1]", "tls", "it is no regular file"]);
    world.landfall(&["run"]).says(&["it is no regular file"]);
    world.sh("mkfifo data/audit/00000000000000000001.jsonl");
    world.landfall(&["audit", "verify"]).ends_with(1).says(&["it is no regular file"]);
}

/// Goal: likewise of what else opens a source.
#[test]
fn a_passphrase_or_a_key_of_enc_files_or_of_a_signer_that_cannot_be_used_is_told_by_check() {
    let rule = r#"
paths = ["in/{sender}/*"]
[decode]
identities = ["own/{sender}.key"]
passphrase_file = "pass"
signers = ["signers/{sender}.asc"]
symmetric_encryption = { keys = [{ version = 1, key_file = "enc.key" }] }
"#;
    let world = World::new(rule);
    world.sh("mkdir -p in/acme own signers; umask 077; printf secret > pass; head -c 32 /dev/zero > enc.key");
    world.age_key_in("own/acme.key");
    world.sh("chmod 600 own/*");
    world.landfall(&["check"]).done();
    for (prepare, undo, place, words) in [
        (": > pass", "printf secret > pass", "decode.passphrase_file", "it is empty"),
        (
            "printf short > enc.key",
            "head -c 32 /dev/zero > enc.key",
            "symmetric_encryption",
            "holds no key of 16, 24 or 32 bytes",
        ),
        (
            "head -c 33 /dev/zero > enc.key",
            "head -c 32 /dev/zero > enc.key",
            "symmetric_encryption",
            "holds no key of 16, 24",
        ),
        (
            "rm enc.key; mkdir enc.key",
            "rmdir enc.key; umask 077; head -c 32 /dev/zero > enc.key",
            "symmetric_encryption",
            "enc.key",
        ),
        ("umask 077; echo x > own/globex.key", "rm own/globex.key", "decode.identities[1]", "globex.key"),
        ("echo x > signers/globex.asc", "rm signers/globex.asc", "decode.signers[1]", "globex.asc"),
    ] {
        world.sh(prepare);
        world.landfall(&["check"]).ends_with(2).says(&[place, words]);
        world.sh(undo);
        world.landfall(&["check"]).done();
    }
}

/// Goal: what a rule is not made ready for is told before, and no secret key is written to as if it were a public one.
#[test]
fn recipients_that_a_rule_is_refused_for_are_told_by_check() {
    let rule = "output.main = { path = \"out/{stem}.age\", recipients_file = \"to\" }";
    let world = World::new(rule);
    let recipient = world.age_key_in("good.key");
    world.write("plain", "1\n2\n");
    world.sh("ssh-keygen -q -t ed25519 -N '' -f ssh.key");
    for (prepare, words) in [
        ("cp good.key to", "holds a secret key"),
        ("(age-keygen -y good.key; grep SECRET good.key | tr A-Z a-z) > to", "holds a secret key"),
        ("cp ssh.key to", "holds a secret key"),
        ("echo age1nonsense > to", "is no age recipient"),
        (": > to", "there are no recipients"),
        ("rm to; mkdir to", "cannot read the recipients"),
    ] {
        world.sh(prepare);
        let told = world.landfall(&["check"]).ends_with(2).says(&["output.main.recipients_file", words]);
        let ran = world.ingest(&["plain"]);
        assert_ne!(ran.code, Some(0), "{prepare}");
        let (told, said) = (format!("{told:?}"), format!("{ran:?}"));
        assert!(said.contains(words), "{prepare}: {said}");
        for said in [told, said] {
            let key = world.text("good.key");
            let secret = key.lines().last().expect("a key").to_lowercase();
            assert!(!said.to_lowercase().contains(&secret), "{said}");
        }
    }
    world.sh(&format!("rmdir to; echo {recipient} > to"));
    world.landfall(&["check"]).done();
    world.ingest(&["plain"]).done();
    assert_eq!(world.sh("age -d -i good.key out/plain.age"), "1\n2\n");
}

/// Goal: likewise of the keys of the service itself.
#[test]
fn a_certificate_that_does_not_fit_its_key_and_a_token_that_is_none_are_told_by_check() {
    let service = r#"
listen = "127.0.0.1:0"
tls = { certificate = "server.pem", key = "server.key" }
traces = { url = "http://127.0.0.1:9/v1/traces", bearer_file = "token" }
"#;
    let world = World::with_service(service, "");
    let certificate = |name: &str| {
        world.sh(&format!(
            "openssl req -x509 -newkey ed25519 -nodes -subj /CN=localhost -days 9 -keyout {name}.key -out {name}.pem 2>/dev/null"
        ));
    };
    certificate("server");
    certificate("other");
    world.write("token", "s3cr3t\n");
    world.landfall(&["check"]).done();
    for (prepare, words) in [
        ("cp server.pem server.key", "cannot be read as PEM"),
        ("cp other.key server.key", "cannot be used"),
        ("rm server.key", "cannot be read as PEM"),
    ] {
        world.sh(&format!("cp server.key kept; {prepare}"));
        world.landfall(&["check"]).ends_with(2).says(&["service.tls", words, "server.key"]);
        world.landfall(&["run"]).ends_with(2).says(&[words, "server.key"]);
        world.sh("mv kept server.key");
    }
    world.write("token", "two words\n");
    world.landfall(&["check"]).done().says(&["warning: ", "service.traces", "is no token"]);
}

/// Goal: a file that was encrypted is never published as if it were clear. Method: a header cut short, and one of a later version, by rules
/// with keys and by one without.
#[test]
fn what_begins_as_an_enc_file_is_published_by_no_rule_that_decrypts() {
    let output = "output = { main = { path = \"out/{stem}\" } }";
    let keys = "decode.symmetric_encryption.keys = [{ version = 1, key_file = \"enc.key\" }]";
    let required = "decode.require = [\"encrypted\"]";
    let world = World::new(output);
    world.write("enc.key", "11".repeat(32));
    world.write("unknown", b"@EnC\x01\x41\x10\0ciphertext ciphertext");
    world.write("cut", b"@EnC\x01");
    world.write("magic", b"@EnC");
    world.write("unknown-text", b"@EnC1A0123");
    world.write("text", b"@EnCoding: none\n");
    for rule in [keys, required] {
        world.configure("", &[&format!("{output}\n{rule}")]);
        world.refuses("unknown", &["flags that are not known (0x41)", "which program"]);
        world.refuses("unknown-text", &["flags that are not known (0x41)"]);
        world.refuses("cut", &["the enc data ends too early"]);
        world.refuses("magic", &["the enc data ends too early"]);
        world.refuses("text", &["no header of one", "for a rule that has neither"]);
    }
    world.configure("", &[output]);
    world.refuses("unknown", &["flags that are not known (0x41)"]);
    world.refuses("cut", &["the enc data ends too early"]);
    for text in ["text", "unknown-text", "magic"] {
        world.ingest(&[text]).done();
    }
    assert_eq!(world.text("out/text"), "@EnCoding: none\n");
}
