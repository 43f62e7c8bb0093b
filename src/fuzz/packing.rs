//! Layers put on, for what a target's bytes are wrapped in.

use std::io::{self, Cursor, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use async_compression::Level;
use async_compression::futures::write::{BzEncoder, XzEncoder, ZstdEncoder};
use futures_io::AsyncWrite;

use crate::clock;
use crate::model::rule::Layer;
use crate::openpgp::{self, Sealer};

/// What age files of these checks are encrypted to. It guards nothing else.
pub(super) const IDENTITY: &str =
    "AGE-SECRET-KEY-1Y2A78STL6VPJV26UC4N4GCTQ5PHUG35QUMVWP79S707XSFNY8R3QACRU9K";

/// The same, of OpenPGP messages.
pub(super) const OPENPGP_KEY: &[u8] = include_bytes!("openpgp_key.asc");

pub(super) const ENC_VERSION: u8 = 7;
pub(super) const ENC_KEY: [u8; 32] = [7; 32];

/// Better levels take a hundred megabytes, whatever there is to pack.
const FAST: Level = Level::Fastest;

/// The bytes with a layer around them; in an archive they are its only member.
pub(super) fn pack(layer: Layer, bytes: &[u8]) -> Vec<u8> {
    let packed = match layer {
        Layer::Age => encrypt(bytes),
        Layer::Enc => Ok(encrypt_enc(bytes)),
        Layer::Pgp => encrypt_openpgp(bytes),
        Layer::Gzip => gzip(bytes),
        Layer::Zstd => drive(ZstdEncoder::with_quality(Vec::new(), FAST), bytes).map(ZstdEncoder::into_inner),
        Layer::Bzip2 => drive(BzEncoder::with_quality(Vec::new(), FAST), bytes).map(BzEncoder::into_inner),
        Layer::Xz => drive(XzEncoder::with_quality(Vec::new(), FAST), bytes).map(XzEncoder::into_inner),
        Layer::Zip => zip(bytes),
        Layer::Tar => tar(bytes),
    };
    packed.expect("memory takes all")
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// An `.enc` file in one GCM message.
fn encrypt_enc(bytes: &[u8]) -> Vec<u8> {
    use aes_gcm::{AeadInPlace as _, KeyInit as _};
    let nonce = [3; 12];
    let name = b"aes-256-gcm";
    let flags = 0x40 | 0x10 | 0x08;
    let mut packed =
        [&b"@EnC"[..], &[ENC_VERSION, flags, 12, 0], &nonce, &[name.len() as u8, 0], name].concat();
    let mut body = bytes.to_vec();
    let cipher = aes_gcm::Aes256Gcm::new(&ENC_KEY.into());
    let tag =
        cipher.encrypt_in_place_detached(&nonce.into(), &packed, &mut body).expect("it is short enough");
    packed.extend([16, 0]);
    packed.extend(tag);
    packed.extend(body);
    packed
}

fn encrypt_openpgp(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let keys = openpgp::certificates(OPENPGP_KEY).expect("it is a key");
    let mut sealer = Sealer::new(&keys, false, Vec::new(), clock::now())?;
    sealer.write_all(bytes)?;
    sealer.finish()
}

fn encrypt(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let identity: age::x25519::Identity = IDENTITY.parse().expect("it is an identity");
    let recipient = identity.to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let mut sink = encryptor.expect("there is a recipient").wrap_output(Vec::new())?;
    sink.write_all(bytes)?;
    sink.finish()
}

fn zip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = ::zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file("a.csv", ::zip::write::SimpleFileOptions::default())?;
    writer.write_all(bytes)?;
    Ok(writer.finish()?.into_inner())
}

fn tar(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    builder.append_data(&mut header, "a.csv", bytes)?;
    builder.into_inner()
}

fn drive<E: AsyncWrite + Unpin>(mut encoder: E, mut bytes: &[u8]) -> io::Result<E> {
    let mut task = Context::from_waker(Waker::noop());
    while !bytes.is_empty() {
        let written = ready(Pin::new(&mut encoder).poll_write(&mut task, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    ready(Pin::new(&mut encoder).poll_close(&mut task))?;
    Ok(encoder)
}

fn ready<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::Error::other("memory is never pending")),
    }
}
