//! The line between one device and the hub: a TCP relay on loopback that can be cut and restored.
//!
//! While it is cut, every connection through it is broken and every new one is closed without an answer.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// One line at work. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Line {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Line {
    /// Lays a line to `hub`; devices connect to [`Self::address`].
    /// # Errors
    /// What the operating system says when it gives no port.
    pub async fn lay(hub: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (whole, watched) = watch::channel(true);
        let task = tokio::spawn(relay(listener, hub, watched));
        Ok(Self { address, whole, task })
    }

    /// Where a device finds the hub.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts or restores the line.
    pub fn set_whole(&self, whole: bool) {
        self.whole.send_replace(whole);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(listener: TcpListener, hub: SocketAddr, whole: watch::Receiver<bool>) {
    loop {
        let Ok((mut near, _)) = listener.accept().await else {
            // Out of file descriptors: those that end give some back.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let mut whole = whole.clone();
        if !*whole.borrow_and_update() {
            continue;
        }
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(hub).await else { return };
            tokio::select! {
                // Either end closed; what it closed with is the devices' own business.
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = whole.wait_for(|whole| !whole) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_line_breaks_what_is_open_and_refuses_what_is_new_until_it_is_restored() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hub = echo.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = echo.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = socket.split();
                    tokio::io::copy(&mut read, &mut write).await.ok();
                });
            }
        });
        let line = Line::lay(hub).await.unwrap();
        let mut buffer = [0; 2];
        let mut device = TcpStream::connect(line.address()).await.unwrap();
        device.write_all(b"hi").await.unwrap();
        assert_eq!(device.read_exact(&mut buffer).await.unwrap(), 2);
        line.set_whole(false);
        assert_eq!(device.read(&mut buffer).await.unwrap_or(0), 0);
        let mut refused = TcpStream::connect(line.address()).await.unwrap();
        assert_eq!(refused.read(&mut buffer).await.unwrap_or(0), 0);
        line.set_whole(true);
        let mut device = TcpStream::connect(line.address()).await.unwrap();
        device.write_all(b"hi").await.unwrap();
        assert_eq!(device.read_exact(&mut buffer).await.unwrap(), 2);
    }
}
