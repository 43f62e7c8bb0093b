//! A receiver of JSON over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A receiver over HTTP, which answers with what it is told to.
pub struct Receiver {
    pub port: u16,
    pub answer: Arc<AtomicU16>,
    pub heads: Arc<Mutex<Vec<String>>>,
    pub taken: Arc<Mutex<Vec<Value>>>,
    pub refused: Arc<Mutex<Vec<Value>>>,
}

impl Receiver {
    pub fn start(answer: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let port = listener.local_addr().expect("is bound").port();
        let (answer, heads) = (Arc::new(AtomicU16::new(answer)), Arc::default());
        let receiver = Self { port, answer, heads, taken: Arc::default(), refused: Arc::default() };
        let (answer, heads) = (Arc::clone(&receiver.answer), Arc::clone(&receiver.heads));
        let (taken, refused) = (Arc::clone(&receiver.taken), Arc::clone(&receiver.refused));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("somebody comes");
                let Some((head, body)) = read(&mut stream) else { continue };
                let status = answer.load(Ordering::Acquire);
                let bodies = if status == 200 { &taken } else { &refused };
                bodies.lock().expect("no panic").push(body);
                heads.lock().expect("no panic").push(head);
                write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n").ok();
            }
        });
        receiver
    }

    /// What it took, of these events.
    pub fn taken(&self, event: &str) -> Vec<Value> {
        let taken = self.taken.lock().expect("no panic");
        taken.iter().filter(|body| body["event"] == event).cloned().collect()
    }

    pub fn asked(&self) -> usize {
        self.heads.lock().expect("no panic").len()
    }
}

fn read(stream: &mut std::net::TcpStream) -> Option<(String, Value)> {
    let (mut sent, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut block).ok().filter(|count| *count > 0)?;
        sent.extend_from_slice(&block[..count]);
        let text = String::from_utf8_lossy(&sent).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length: usize = head.split("Content-Length: ").nth(1)?.lines().next()?.parse().ok()?;
        if body.len() >= length {
            return Some((head.to_owned(), serde_json::from_str(body).ok()?));
        }
    }
}
