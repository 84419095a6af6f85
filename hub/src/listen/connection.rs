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
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;

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
    /// Counts it among those that are open.
    pub(super) _open: OwnedSemaphorePermit,
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                self.cut = Box::pin(std::future::ready(()));
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "this end was told to cut it"))
            }
        }
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
