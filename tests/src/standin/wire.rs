//! The plumbing that all stand-ins share.
//!
//! In: bytes of a request. Out: fields checked one by one, or a [`Problem`] that names the field at fault;
//! and connections that a handler can cut as if the machine behind them had died.
//! Never listens anywhere but on loopback.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::{self, Write},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::connect_info::Connected,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    serve::{IncomingStream, Listener},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// Longest text that a stand-in takes in one field, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Why a request was refused, as `application/problem+json`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// What the answer's status is.
    pub status: StatusCode,
    /// The field at fault, as a path such as `lines[0].quantity`, where one is.
    pub field: Option<String>,
    /// What is wrong, in a sentence.
    pub detail: String,
}

impl Problem {
    /// The request cannot be read, because of `field`.
    pub fn malformed(field: impl Into<String>, detail: impl Display) -> Self {
        let field = field.into();
        Self { status: StatusCode::BAD_REQUEST, detail: format!("{field}: {detail}"), field: Some(field) }
    }

    /// What the request speaks of is not there.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, detail)
    }

    /// Any other refusal.
    pub fn of(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, field: None, detail: detail.into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Problem"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        let mut response = (self.status, Json(body)).into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// The fields of one JSON object, taken out one by one; [`Fields::finish`] refuses what is left over.
#[derive(Debug)]
pub struct Fields {
    path: String,
    values: Map<String, Value>,
}

impl Fields {
    /// The object that a request's body is.
    /// # Errors
    /// 400 if the body is not one JSON object.
    pub fn of_body(body: &[u8]) -> Result<Self, Problem> {
        Self::of_value(json_body(body)?, "")
    }

    /// The object found at `path`.
    /// # Errors
    /// 400 if `value` is not an object.
    pub fn of_value(value: Value, path: &str) -> Result<Self, Problem> {
        match value {
            Value::Object(values) => Ok(Self { path: path.to_owned(), values }),
            _ => Err(Problem::malformed(if path.is_empty() { "body" } else { path }, "is not an object")),
        }
    }

    /// The parameters of a query; every value is text.
    #[must_use]
    pub fn of_query(query: BTreeMap<String, String>) -> Self {
        Self { path: String::new(), values: query.into_iter().map(|(k, v)| (k, v.into())).collect() }
    }

    /// The whole path of the field `name`.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Whether the object has a field `name` that is not null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|v| !v.is_null())
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.values.remove(name).filter(|v| !v.is_null())
    }

    fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, Problem> {
        value.ok_or_else(|| Problem::malformed(self.path_of(name), "is missing"))
    }

    /// A text that is not empty, if there is one.
    /// # Errors
    /// 400 if it is something else.
    pub fn text_or_null(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.trim().is_empty() => {
                Err(Problem::malformed(self.path_of(name), "is empty"))
            }
            Some(Value::String(text)) if text.len() > TEXT_BYTES_MAX => {
                Err(Problem::malformed(self.path_of(name), format!("is longer than {TEXT_BYTES_MAX} bytes")))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Problem::malformed(self.path_of(name), "is not a text")),
        }
    }

    /// A text that is not empty.
    /// # Errors
    /// 400 if it is missing or something else.
    pub fn text(&mut self, name: &str) -> Result<String, Problem> {
        let text = self.text_or_null(name)?;
        self.required(name, text)
    }

    /// A whole number from `min` up that fits `T`, if there is one.
    /// # Errors
    /// 400 if it is something else.
    pub fn number_or_null<T: TryFrom<i64>>(&mut self, name: &str, min: i64) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value
            .as_i64()
            .ok_or_else(|| Problem::malformed(self.path_of(name), format!("is not a whole number: {value}")))?;
        if number < min {
            return Err(Problem::malformed(self.path_of(name), format!("is {number}, less than {min}")));
        }
        let number = T::try_from(number)
            .map_err(|_| Problem::malformed(self.path_of(name), format!("is too large: {number}")))?;
        Ok(Some(number))
    }

    /// A whole number from `min` up that fits `T`.
    /// # Errors
    /// 400 if it is missing or something else.
    pub fn number<T: TryFrom<i64>>(&mut self, name: &str, min: i64) -> Result<T, Problem> {
        let number = self.number_or_null(name, min)?;
        self.required(name, number)
    }

    /// A number of degrees from `-bound` to `bound`.
    /// # Errors
    /// 400 if it is missing, something else or out of bounds.
    pub fn degrees(&mut self, name: &str, bound: f64) -> Result<f64, Problem> {
        let value = self.take(name);
        let value = self.required(name, value)?;
        value
            .as_f64()
            .filter(|degrees| degrees.abs() <= bound)
            .ok_or_else(|| Problem::malformed(self.path_of(name), format!("is not within {bound} degrees: {value}")))
    }

    /// True or false, if it is there.
    /// # Errors
    /// 400 if it is something else.
    pub fn flag_or_null(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(other) => Err(Problem::malformed(self.path_of(name), format!("is not true or false: {other}"))),
        }
    }

    /// True or false.
    /// # Errors
    /// 400 if it is missing or something else.
    pub fn flag(&mut self, name: &str) -> Result<bool, Problem> {
        let flag = self.flag_or_null(name)?;
        self.required(name, flag)
    }

    /// A moment in RFC 3339, with its offset.
    /// # Errors
    /// 400 if it is missing or something else.
    pub fn time(&mut self, name: &str) -> Result<Timestamp, Problem> {
        let text = self.text(name)?;
        text.parse().map_err(|_| {
            Problem::malformed(
                self.path_of(name),
                format!("is not an RFC 3339 time such as 2030-05-01T08:00:00Z: {text:?}"),
            )
        })
    }

    /// One of a fixed set of words, if it is there.
    /// # Errors
    /// 400 if it is another word; the answer lists those that are known.
    pub fn word_or_null<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.text_or_null(name)? else { return Ok(None) };
        serde_json::from_value(text.into()).map(Some).map_err(|e| Problem::malformed(self.path_of(name), e))
    }

    /// One of a fixed set of words.
    /// # Errors
    /// 400 if it is missing or another word; the answer lists those that are known.
    pub fn word<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, Problem> {
        let word = self.word_or_null(name)?;
        self.required(name, word)
    }

    /// An object, if it is there.
    /// # Errors
    /// 400 if it is something else.
    pub fn object_or_null(&mut self, name: &str) -> Result<Option<Fields>, Problem> {
        let path = self.path_of(name);
        self.take(name).map(|value| Self::of_value(value, &path)).transpose()
    }

    /// An object.
    /// # Errors
    /// 400 if it is missing or something else.
    pub fn object(&mut self, name: &str) -> Result<Fields, Problem> {
        let object = self.object_or_null(name)?;
        self.required(name, object)
    }

    /// A list of objects.
    /// # Errors
    /// 400 if it is missing or something else.
    pub fn objects(&mut self, name: &str) -> Result<Vec<Fields>, Problem> {
        let list = self.take(name);
        objects(self.required(name, list)?, &self.path_of(name))
    }

    /// A list of texts, if it is there.
    /// # Errors
    /// 400 if it is something else.
    pub fn texts_or_null(&mut self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        self.take(name)
            .map(|list| serde_json::from_value(list).map_err(|e| Problem::malformed(self.path_of(name), e)))
            .transpose()
    }

    /// The id in the body, if given, must be the one in the path.
    /// # Errors
    /// 400 if they differ.
    pub fn id_is(&mut self, id: &str) -> Result<(), Problem> {
        match self.text_or_null("id")? {
            Some(other) if other != id => {
                Err(Problem::malformed(self.path_of("id"), format!("is {other}, but the path says {id}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses fields that nobody took: most often they are misspelt.
    /// # Errors
    /// 400 that names the first of them.
    pub fn finish(self) -> Result<(), Problem> {
        match self.values.iter().find(|(_, value)| !value.is_null()) {
            Some((name, _)) => Err(Problem::malformed(self.path_of(name), "is not known here")),
            None => Ok(()),
        }
    }
}

/// The JSON value that a request's body is.
/// # Errors
/// 400 if it is not JSON.
pub fn json_body(body: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(body).map_err(|e| Problem::malformed("body", format!("is not JSON: {e}")))
}

/// The objects of the list found at `path`.
/// # Errors
/// 400 if it is not a list of objects.
pub fn objects(list: Value, path: &str) -> Result<Vec<Fields>, Problem> {
    let Value::Array(values) = list else {
        return Err(Problem::malformed(if path.is_empty() { "body" } else { path }, "is not a list"));
    };
    values.into_iter().enumerate().map(|(i, value)| Fields::of_value(value, &format!("{path}[{i}]"))).collect()
}

/// A switch that cuts one connection: what is answered after it never leaves, and the peer sees a reset.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<AtomicBool>);

impl Cut {
    /// Cuts the connection and gives the answer that will never be seen.
    #[must_use]
    pub fn instead_of_an_answer(&self) -> Response {
        self.0.store(true, Ordering::SeqCst);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }

    fn is_cut(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().cut.clone()
    }
}

/// A listener whose connections can be cut by a handler that takes `ConnectInfo<Cut>`.
#[derive(Debug)]
pub struct CuttableListener(TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) => {
                    // Without it each small answer may wait 40 ms for an acknowledgement.
                    stream.set_nodelay(true).ok();
                    return (CuttableStream { stream, cut: Cut::default() }, address);
                }
                // Out of file descriptors, or a peer gone before it was greeted: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A TCP connection with a [`Cut`].
#[derive(Debug)]
pub struct CuttableStream {
    stream: TcpStream,
    cut: Cut,
}

impl CuttableStream {
    fn reset(&self) -> io::Error {
        // With no time to linger, closing the socket sends a reset in place of an orderly end.
        self.stream.set_zero_linger().ok();
        io::ErrorKind::ConnectionReset.into()
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_cut() {
            return Poll::Ready(Err(self.reset()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cut.is_cut() {
            return Poll::Ready(Err(self.reset()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_cut() {
            return Poll::Ready(Err(self.reset()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An orderly shutdown would say goodbye before the reset.
        if self.cut.is_cut() {
            self.reset();
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads an address and refuses any that other machines could reach: `/admin` asks for no password.
/// # Errors
/// A sentence for the command line.
pub fn loopback(address: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = address.parse().map_err(|_| "is not an address such as 127.0.0.1:0".to_owned())?;
    if !address.ip().is_loopback() {
        return Err("is not on loopback; stand-ins have no guard at their admin door".to_owned());
    }
    Ok(address)
}

/// Tells whoever started the process that it listens, as one JSON line on standard output.
/// # Errors
/// If standard output is closed.
pub fn announce(listener: &TcpListener) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", json!({ "ready": listener.local_addr()?.to_string() }))?;
    out.flush()
}

/// Serves until the future is dropped.
/// # Errors
/// If the listener fails for good.
pub async fn serve(listener: TcpListener, router: Router) -> io::Result<()> {
    let router = router
        .fallback(|| async { Problem::not_found("no such path") })
        .method_not_allowed_fallback(|| async { Problem::of(StatusCode::METHOD_NOT_ALLOWED, "no such method here") });
    axum::serve(CuttableListener(listener), router.into_make_service_with_connect_info::<Cut>()).await
}

/// Serves until the process is told to stop by SIGTERM or an interrupt; open connections are dropped.
/// # Errors
/// If the address is taken, or standard output is closed.
pub async fn serve_until_stopped(address: SocketAddr, router: Router) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(address).await?;
    announce(&listener)?;
    tokio::select! {
        served = serve(listener, router) => served,
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}
