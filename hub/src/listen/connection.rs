//! A connection after its handshake: who is at its other end, and how it is cut.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Extension, extract::ConnectInfo};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::places::Lost;
use crate::identity::Peer;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub struct Caller {
    /// From where.
    pub address: SocketAddr,
    /// Which device, by its certificate; none for people, programs and devices that enrol.
    pub peer: Option<Arc<Peer>>,
    /// It said that it has no certificate: it reaches enrolment alone.
    pub enrols: bool,
}

/// Whoever sent a request, for its handler; none where the listener does not know.
pub type From = Option<Extension<ConnectInfo<Caller>>>;

/// The caller of a request.
#[must_use]
pub fn caller(from: &From) -> Option<&Caller> {
    from.as_ref().map(|from| &from.0.0)
}

/// When a connection ends though neither side wants it to.
pub(super) type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream over TLS. Once it is cut, every use of it fails, and whoever serves it lets go of what is under way.
pub struct Connection {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) caller: Caller,
    pub(super) cut: Cut,
    /// Ends when its place is needed for a newer one; none once it has ended. Beside `cut` and not within: one
    /// future of both would be twice as large, and there are many that wait.
    pub(super) lost: Option<Lost>,
    /// What it takes up as long as it lives: it is one of those that are open, and may have a place.
    pub(super) _takes: Box<dyn Send>,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        let is_cut = self.cut.as_mut().poll(context).is_ready();
        let is_lost = self.lost.as_mut().is_some_and(|lost| Pin::new(lost).poll(context).is_ready());
        if !is_cut && !is_lost {
            return Ok(());
        }
        // Neither may be asked again once it has ended.
        self.cut = Box::pin(std::future::ready(()));
        self.lost = None;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "this end was told to cut it"))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
