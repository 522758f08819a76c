//! The service behind the gateway: HTTP/1.1 by hand, so that it can do what is wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answers {
    /// A 200 after 20 to 40 ms.
    Well,
    /// A 200 after 700 to 1,400 ms.
    Slowly,
    /// It is not there.
    Dead,
    /// This share of answers is a 500, after 20 to 40 ms.
    Failing(f64),
    /// Seven of ten answers are a 503 with `Retry-After`, at once.
    Shedding,
    /// The connection closes in the middle of the body.
    Truncated,
}

#[derive(Clone)]
pub(crate) struct Service(Arc<watch::Sender<Answers>>);

impl Service {
    pub(crate) fn start() -> (Self, SocketAddr) {
        let service = Self(Arc::new(watch::Sender::new(Answers::Well)));
        let listener = listener(([127, 0, 0, 1], 0).into());
        let addr = listener.local_addr().expect("bound");
        tokio::spawn(service.clone().run(listener, addr));
        (service, addr)
    }

    pub(crate) fn set(&self, answers: Answers) {
        self.0.send_replace(answers);
    }

    async fn run(self, first: TcpListener, addr: SocketAddr) {
        let slot = Mutex::new(Some(first));
        let mut changes = self.0.subscribe();
        loop {
            let taken = slot.lock().expect("no panic").take();
            let listener = taken.unwrap_or_else(|| listener(addr));
            let is_alive = |answers: &Answers| *answers != Answers::Dead;
            let dead = changes.wait_for(|answers| !is_alive(answers));
            tokio::select! {
                () = accept(&listener, &self) => {}
                _ = dead => {}
            }
            drop(listener);
            let _ = changes.wait_for(is_alive).await;
        }
    }
}

fn listener(addr: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(addr).expect("a free address");
    socket.listen(1_024).expect("a listener")
}

async fn accept(listener: &TcpListener, service: &Service) {
    while let Ok((stream, _)) = listener.accept().await {
        let mut changes = service.0.subscribe();
        tokio::spawn(async move {
            let mut death = changes.clone();
            let dead = death.wait_for(|answers| *answers == Answers::Dead);
            tokio::select! {
                _ = serve(stream, &mut changes) => {}
                _ = dead => {}
            }
        });
    }
}

/// Answers the requests of one connection, which have no bodies.
async fn serve(
    mut stream: TcpStream,
    answers: &mut watch::Receiver<Answers>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.clear();
        let now = *answers.borrow();
        let millis = match now {
            Answers::Slowly => fastrand::u64(700..1_400),
            Answers::Shedding => 1,
            _ => fastrand::u64(20..40),
        };
        sleep(Duration::from_millis(millis)).await;
        let ok = "200 OK\r\ncontent-length: 7\r\n\r\nserved\n";
        let answer = match now {
            Answers::Failing(share) if fastrand::f64() < share => {
                "500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
            }
            Answers::Shedding if fastrand::f64() < 0.7 => {
                "503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"
            }
            Answers::Truncated => "200 OK\r\ncontent-length: 7000\r\n\r\nserved\n",
            _ => ok,
        };
        stream
            .write_all(format!("HTTP/1.1 {answer}").as_bytes())
            .await?;
        if now == Answers::Truncated {
            return Ok(());
        }
    }
}
