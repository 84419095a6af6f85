//! HTTP/1.1 on connections whose handshake is done.
//!
//! In: connections. Out: requests, each with who sent it. The handshake has settled that HTTP/1.1 is spoken, so nothing
//! looks for another version first: whoever looks reads the first bytes apart, and that doubles what a connection holds
//! for as long as it lives. Devices wait by the thousand.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    BoxError, Router,
    body::{Body, Bytes, HttpBody},
    extract::ConnectInfo,
};
use gatehouse_common::sync::exchange::on_the_slowest_line;
use hyper::{
    Request,
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, GracefulShutdown},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep},
};
use tower_service::Service;
use tracing::debug;

use super::{Caller, TlsListener};

/// Longest from the handshake, or from the end of an answer, to the end of the next request's head, in real time. Above
/// the 90 s for which devices keep a connection that they do not use: they should be those who close it.
const HEAD_MAX: Duration = Duration::from_secs(120);

/// Longest from when a request's body is first waited for to its end, in real time, on top of what its length takes on a
/// line of 16 kbit/s: whoever sends half of one must not have it kept for ever.
const BODY_MAX: Duration = Duration::from_secs(120);
/// Nothing that is taken here is longer, in bytes.
const LENGTH_MAX: u64 = 2 * 1024 * 1024;

/// Serves `router` on what `listener` gives, until `stop` ends; what is under way is answered before this returns.
pub async fn serve(mut listener: TlsListener, router: Router, stop: impl Future<Output = ()>) {
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let connection = tokio::select! {
            taken = listener.accept() => taken,
            () = &mut stop => break,
        };
        let caller = connection.caller.clone();
        let answering = open.watch(answer(connection, caller, router.clone(), HEAD_MAX, BODY_MAX));
        tokio::spawn(async move {
            if let Err(error) = answering.await {
                debug!(%error, "a connection ended: {error}");
            }
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// Answers what `caller` asks over one stream, for as long as a head takes no longer than `head_max` to come, and a body
/// no longer than `body_max` and what its length takes.
fn answer<I>(
    stream: I,
    caller: Caller,
    router: Router,
    head_max: Duration,
    body_max: Duration,
) -> impl GracefulConnection<Error = hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(caller.clone()));
        router.clone().call(request.map(|body| {
            let length = body.size_hint().exact().unwrap_or(0).min(LENGTH_MAX);
            Body::new(InTime { body, within: body_max + on_the_slowest_line(length), end: None })
        }))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head_max);
    http.serve_connection(TokioIo::new(stream), service)
}

/// A body that breaks off where it does not end in time.
struct InTime {
    body: Incoming,
    within: Duration,
    /// None until it is first waited for: most bodies are there with their head.
    end: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let within = self.within;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(within)));
        end.as_mut().poll(context).map(|()| Some(Err("the body did not come whole in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::{get, post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{sleep, timeout},
    };

    use super::*;
    use crate::listen::{From, caller};

    const HEAD: Duration = Duration::from_millis(400);
    const BODY: Duration = Duration::from_millis(400);
    const PATIENCE: Duration = Duration::from_secs(10);

    /// The far end of a stream on which somebody from a known address is answered.
    fn somebody() -> DuplexStream {
        let (near, far) = duplex(4096);
        let who = Caller { address: "192.0.2.7:4000".parse().unwrap(), peer: None, enrols: true };
        let says = async |from: From| caller(&from).map(|caller| caller.address.to_string()).unwrap_or_default();
        let counts = async |body: Bytes| body.len().to_string();
        let router = Router::new().route("/who", get(says)).route("/count", post(counts));
        tokio::spawn(answer(near, who, router, HEAD, BODY));
        far
    }

    async fn asks(stream: &mut DuplexStream) -> String {
        stream.write_all(b"GET /who HTTP/1.1\r\nhost: hub\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let length = timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    }

    #[tokio::test]
    async fn each_request_says_who_sent_it() {
        let mut stream = somebody();
        for _ in 0..2 {
            let answer = asks(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("192.0.2.7:4000"), "{answer}");
        }
    }

    #[tokio::test]
    async fn who_begins_and_says_no_more_is_cut_off_and_who_goes_on_asking_is_not() {
        let (mut silent, mut slow, mut asking) = (somebody(), somebody(), somebody());
        slow.write_all(b"GET /who HT").await.unwrap();
        for _ in 0..6 {
            sleep(HEAD / 4).await;
            assert!(asks(&mut asking).await.starts_with("HTTP/1.1 200"));
        }
        let mut said = Vec::new();
        for cut in [&mut silent, &mut slow] {
            timeout(PATIENCE, cut.read_to_end(&mut said)).await.unwrap().unwrap();
        }
        assert!(!String::from_utf8_lossy(&said).contains("200"), "nobody had asked for anything");
    }

    #[tokio::test]
    async fn half_a_body_is_not_waited_for_for_ever_and_one_that_comes_in_parts_is() {
        let (mut stopped, mut slow) = (somebody(), somebody());
        for stream in [&mut stopped, &mut slow] {
            stream.write_all(b"POST /count HTTP/1.1\r\nhost: hub\r\ncontent-length: 9\r\n\r\nfour").await.unwrap();
        }
        sleep(BODY / 4).await;
        slow.write_all(b", and").await.unwrap();
        let mut answer = vec![0; 4096];
        let length = timeout(PATIENCE, slow.read(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with('9'), "{answer}");
        let mut said = Vec::new();
        timeout(PATIENCE, stopped.read_to_end(&mut said)).await.unwrap().unwrap();
        assert!(said.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&said));
    }
}
