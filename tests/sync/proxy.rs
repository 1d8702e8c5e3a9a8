//! A TCP proxy of the test's own, which cuts connections wherever they are.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    open: AtomicBool,
    /// Bytes from the gateway that pass before the next cut; 0 for no cut.
    left: AtomicU64,
    /// Bytes that came through, both ways.
    carried: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            target,
            open: AtomicBool::new(true),
            left: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.open.load(Ordering::SeqCst) {
                    accepting.connect(stream);
                }
            }
        });
        Self { port, shared }
    }

    /// Cuts every connection now.
    pub fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Cuts all when so many more bytes have come from the gateway: in the middle of whatever it does.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Lets nobody through, as a network that is gone.
    pub fn close(&self) {
        self.shared.open.store(false, Ordering::SeqCst);
        self.cut();
    }

    /// Bytes that came through so far, both ways.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::SeqCst)
    }

    pub fn open(&self) {
        self.shared.open.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, gateway: TcpStream) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.target)) else { return };
        {
            let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.extend(gateway.try_clone());
            streams.extend(server.try_clone());
        }
        let (Ok(gateway_2), Ok(server_2)) = (gateway.try_clone(), server.try_clone()) else { return };
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.pump(gateway, server, true));
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.pump(server_2, gateway_2, false));
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, counts: bool) {
        let mut buffer = [0; 4096];
        while let Ok(read) = from.read(&mut buffer) {
            let mut pass = read;
            self.carried.fetch_add(read as u64, Ordering::SeqCst);
            if counts {
                let left = self.left.load(Ordering::SeqCst);
                if left > 0 {
                    pass = read.min(usize::try_from(left).unwrap_or(read));
                    let rest = left.saturating_sub(read as u64);
                    self.left.store(rest, Ordering::SeqCst);
                    if rest == 0 {
                        drop(to.write_all(&buffer[..pass]));
                        break;
                    }
                }
            }
            if read == 0 || to.write_all(&buffer[..pass]).is_err() {
                break;
            }
        }
        drop(from.shutdown(Shutdown::Both));
        drop(to.shutdown(Shutdown::Both));
    }
}
